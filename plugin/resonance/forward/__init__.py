# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""One model call, exact and cheap. Log-probabilities of responses, at a fraction of the compute and memory.

It knows no loss and nothing of LlamaFactory; it uses torch and Transformers. A batch is K*B rows, as LlamaFactory's
collators make it: the first continuation of B prompts, then the second, and so on (pairs: K = 2, chosen, rejected).

| file | what |
|---|---|
| `names.py` | the speed-ups a recipe can name; imports nothing |
| `layout.py` | rows the model reads, and which hidden state predicts which response token: plain or shared prefix |
| `packing.py` | all rows in one, without padding |
| `masks.py` | who attends to whom in shared rows |
| `attention.py` | the same without an S x S mask, for long rows and packed ones |
| `varlen.py` | the same in one call of FlashAttention a layer |
| `head.py` | the output head on response rows only; what a model returns while it is read |
| `readers.py` | what can be read of it: log-probabilities, entropies, values, mean logits, the likeliest tokens |
| `columns.py` | one pass over logits that reads it |
| `vision.py` | towers without useless graphs, each picture once |
| `features.py` | features of pictures kept from epoch to epoch; `account.py`: whether that pays |
| `pictures.py` | the inputs of one picture, and what it is known by |
| `result.py` | per-token log-probabilities and what follows from them |
| `call.py` | puts these together around one call of the model |
| `flops.py` | counts what a run of the model costs |
| `selftest.py` | compares with the plain path on a real batch |
"""
