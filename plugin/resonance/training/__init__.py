# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Trainers and what a run of ours prepares: tensors move between the other rooms here, arithmetic stays there.

| file | what |
|---|---|
| `run.py` | what a run prepares before LlamaFactory's workflow; `context.py`: its arguments while it is in progress |
| `engine.py` | calls policy and reference; every trainer has one |
| `speedups.py` | which speed-ups an engine uses; `features.py`: whether it keeps features of pictures |
| `reference.py` | log-probabilities of pairs on disk in place of a reference model |
| `preference.py` | the trainer of preference losses; `feedback.py`: of KTO; `referenced.py`: what both have |
| `rates.py` | learning rates of vision tower and projector; `stock.py`: on LlamaFactory's own trainers |
| `opening.py` | the line that a preference run begins its log with |
| `finite.py` | a run whose numbers are not finite stops and saves none of them |
| `meters.py`, `resume.py`, `sampling.py` | what trainers have in common: log lines, checkpoints, order of rows |
| `prompt_order.py` | pairs of one prompt in one micro-batch; `same_prompt.py`: which these are |
| `weights.py` | models that are complete, or an error |
| `pair_log.py` | where each pair sits; `json_lines.py`: files that grow by lines, over a resume, too |
| `record.py`, `continuing.py` | what a run leaves about itself; whether another may go on from there |
| `curves.py`, `empty.py` | the pictures that it leaves; a run that takes no step |
"""
