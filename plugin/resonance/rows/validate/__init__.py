# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Which rows can be trained on: every fault is found before step 1 and reported with file and row.

| file | what |
|---|---|
| `findings` | `Finding`: kind, message, source, row; the cures; one message about many of them |
| `json_files`, `json_head`, `column_types` | why a JSON file cannot become a table |
| `raw_columns` | a raw dataset has the columns that its entry names, and its scores are numbers |
| `useless` | which rows teach nothing and are skipped |
| `rules` | what is wrong with one aligned row and its media |
| `dataset` | the rules over a dataset: stop, or skip and warn |
| `row_log` | the files that list rows, the warnings about a stream |
"""
