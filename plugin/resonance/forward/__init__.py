# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""One model call, exact and cheap. Log-probabilities of responses, at a fraction of the compute and memory.

It knows no loss and nothing of LlamaFactory; it uses torch and Transformers. A batch is R padded rows, each a prompt
and a response to it: pairs as LlamaFactory's collators make them, or any number of responses to any number of prompts.

| file | what |
|---|---|
| `names.py` | the speed-ups a recipe can name; imports nothing |
| `prompts.py` | the parts of a row, and which rows answer the same prompt |
| `media.py` | which pictures each row shows, and which are the same |
| `arrange.py` | where each token goes when prompts are read once, or rows lie in one row |
| `cost.py` | what a layer costs one way or the other |
| `request.py` | what a batch is laid out for |
| `host.py` | chooses a layout and makes it, on the host |
| `bundle.py` | its index tensors in one |
| `layout.py` | what a model is called with, and which hidden state predicts which response token |
| `masks.py` | who attends to whom in shared rows |
| `attention.py` | the same without an S x S mask: who does that |
| `pieces.py` | in two calls of SDPA a layer |
| `varlen.py` | in one call of FlashAttention a layer |
| `head.py` | the output head on response rows only; what a model returns while it is read |
| `readers.py` | what can be read of it: log-probabilities, entropies, values, mean logits, the likeliest tokens |
| `columns.py` | one pass over logits that reads it |
| `tower.py` | where the vision tower is, and the shape of its features |
| `vision.py` | towers without useless graphs, each picture once |
| `walk.py` | which modules a model has, remembered |
| `ranks.py` | what ranks decide together |
| `features.py` | features of pictures kept from epoch to epoch; `account.py`: whether that pays |
| `pictures.py` | the inputs of one picture, and what it is known by |
| `result.py` | per-token log-probabilities and what follows from them |
| `call.py` | puts these together around one call of the model |
| `flops.py` | counts what a run of the model costs |
| `ranks.py` | what all ranks decide together |
| `selftest.py` | compares with the plain path on a real batch |
"""
