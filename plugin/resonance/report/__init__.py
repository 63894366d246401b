# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Reports: what runs have logged -> remarks, curves, tables, one HTML page. Reads files only; runs without torch.

| file | what |
|---|---|
| `run.py` | a run that is finished, was killed, or is LlamaFactory's own: its log lines and its recipe |
| `metrics.py` | what each metric means, which way is good, and which panel it is drawn in |
| `series.py` | curves out of log lines: splits, thinning, running means |
| `figure.py`, `tables.py` | `curves.png`; last values, every value as CSV, keys in which recipes differ |
| `remarks.py`, `remark.py`, `remarks_*.py`, `symptoms.py` | what an experienced reader would notice |
| `pictures.py` | whether a run is evaluated on pictures that it trains on |
| `pairs.py` | `pairs.jsonl`: where pairs are, and how they moved |
| `completions.py` | `completions.jsonl` as HTML, for this page and for that of a run in progress |
| `plots.py`, `page.py` | the page |
"""
