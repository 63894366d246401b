# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""For ZeRO-3 on CPU ranks (tests only; put this folder on PYTHONPATH): finish every all-gather before the next.

DeepSpeed 0.18.4 launches one asynchronous all-gather a parameter and waits for the last handle only
(runtime/zero/partition_parameters.py, `_allgather_params_coalesced`). On a CUDA stream that orders them all; gloo runs
them on two threads, so an earlier one can finish late and overwrite weights that rank 0 has just loaded. Seen: about
one random parameter of a tiny model holds 1e37 after `from_pretrained`, and the run is NaN from the first step.
"""

import importlib.abc
import importlib.machinery
import sys

TARGET = "deepspeed.comm.torch"


class _Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, fullname, path=None, target=None):
        if fullname != TARGET:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path)
        run = spec.loader.exec_module

        def exec_module(module):
            run(module)
            original = module.TorchBackend.all_gather_into_tensor

            def all_gather_into_tensor(self, *args, **kwargs):
                handle = original(self, *args, **kwargs)
                if handle is not None:
                    handle.wait()
                return handle

            module.TorchBackend.all_gather_into_tensor = all_gather_into_tensor

        spec.loader.exec_module = exec_module
        return spec


sys.meta_path.insert(0, _Finder())
