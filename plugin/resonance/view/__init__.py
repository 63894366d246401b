# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""A local page that shows the rows of a data set and takes flags: an HTTP server of the standard library.

The page is three files of ours. What a row holds reaches it as JSON and is put there as text, never as markup, and the
browser is told to load nothing from anywhere else. A picture is asked for by row and place, never by a path.
"""
