# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""`resonance data check`: what is wrong with the rows of a data set, all of it, before a training run finds out.

A row goes from `entry` (which files, which columns) through `align` (as LlamaFactory will see it) to
`judge`, `images`, `duplicates`, `columns`, `lengths` (what is wrong) and `findings`, which `text` and `page` show;
`repair` writes a cleaned copy. Rows stream: what grows with their number is a few hashes and numbers a row.
"""
