# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""What the benchmarks of this folder's parent are made of.

| file | what |
|---|---|
| `small_step.py` | a small Qwen2-VL with the proportions of a large one, and the least its step can cost |
| `group.py` | completions of one prompt, for that model |
| `resident.py` | the peak of a process's memory |
| `counting.py` | kernels and waits of a step, counted on a CPU |
| `collators.py` | JPEG pairs through LlamaFactory's collator and ours |
| `attention.py` | FLOPs of a step with those of attention |
| `gpu_step.py` | Qwen2-VL-2B with random weights and both trainers, on one GPU |
| `gpu_estimate.py` | what `resonance estimate` computes for that |
| `gpu_more.py` | JPEGs into its steps, and its largest micro-batch |
"""
