# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""A row on its way in, from the data file to the batch. In the order in which a preference pair meets them:

| file | what happens there | the row is then |
|---|---|---|
| `plan` | what the run asks of its rows; travels on LlamaFactory's data arguments | |
| `attributes` | a dataset_info.json entry may name score columns | |
| `load` | files are read, rows numbered; `validate/json_files` explains unreadable ones | raw + `_source _row` |
| `align` | the order of the steps from here to `validate/dataset` | |
| `stream` | columns read in batches; images of a stream decoded by us | |
| `validate/raw_columns` | the columns that the entry names are there, and scores are numbers | |
| `media_types` | the types of media columns, before `datasets` guesses them | |
| `select` | `score_margin` and `data_ratio` choose training rows | |
| `convert` | LlamaFactory's converter, keeping scores and origin | aligned: `_prompt _response _images _score_*` |
| `validate/dataset` | `rules` for one row, over all rows: stop, or skip and list in `row_log` | |
| `encode` | LlamaFactory's token ids without a cutoff; `vision/` counts image tokens from headers | |
| `overlong/policy` | a pair over its `lengths`: `shrink_image`, `cut_text`, or a mark | |
| `tokenize` | LlamaFactory's processor around both | tokenized: ids, labels, `images score_*` |
| `overlong/dataset` | marked pairs stop the run, are skipped, or a warning counts them | |
| `tokenized_path` | around all of the above: a saved set and its settings | |
| `collate` | images resized and processed once (`images`), scores beside them | batch: tensors |

What the processors of all kinds of rows have in common is in `fitting`.
Answers of KTO, good or bad, go the same way: `feedback` makes a pair of each and the answer of another row.
Prompts of reinforcement learning go the same way, without scores: `prompts` converts and tokenizes them, `rollouts`
collates them, alone and with completions. So do conversations of supervised fine-tuning: `answers` tokenizes and
collates them.

`idefics/` puts models that LlamaFactory lacks into its tables.

`fields` names the columns, `types` what is read of LlamaFactory's objects. Light, without LlamaFactory: `fields`,
`plan`, `types`, and in `validate/` all but `dataset`, `row_log` and `raw_columns`.
"""
