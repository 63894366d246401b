# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Four upstream faults that only CPU ranks meet, mended for tests: put this folder on PYTHONPATH.

DeepSpeed 0.18.4 launches one asynchronous all-gather a parameter and waits for the last handle only
(runtime/zero/partition_parameters.py, `_allgather_params_coalesced`). On a CUDA stream that orders them all; gloo runs
them on two threads, so an earlier one can finish late and overwrite weights that rank 0 has just loaded. Seen: about
one random parameter of a tiny model holds 1e37 after `from_pretrained` under ZeRO-3, and the run is NaN at once.

DeepSpeed compiles a collective for inference on CPUs when ranks meet, which takes minutes, and leaves a lock if it is
killed, for which the next rank waits without end. No training calls it.

Under torchrun with `use_cpu: true` the Trainer's device is "cpu:0", and it resumes an optimizer with
`torch.load(map_location="cpu:0")`, a location torch 2.11 does not know.

A thread of gloo lets go of the tensors of the last collective a moment after its caller goes on, and needs Python's
lock for that. If the rank is already leaving, Python ends the thread instead and the process aborts ("terminate called
without an active exception"), which makes torchrun kill the rank that is still saving. A rank waits before it leaves.
"""

import atexit
import importlib.abc
import importlib.machinery
import os
import sys
import time


def gather_in_order(module):
    original = module.TorchBackend.all_gather_into_tensor

    def all_gather_into_tensor(self, *args, **kwargs):
        handle = original(self, *args, **kwargs)
        if handle is not None:
            handle.wait()
        return handle

    module.TorchBackend.all_gather_into_tensor = all_gather_into_tensor


def compile_nothing(module):
    module.build_shm_op = lambda: None


def know_indexed_cpu(module):
    def restore(storage, location):
        return storage if location.startswith("cpu:") else None

    module.register_package(5, lambda storage: None, restore)


MENDED = {
    "deepspeed.comm.torch": (gather_in_order, compile_nothing),
    "torch.serialization": (know_indexed_cpu,),
}


class _Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, fullname, path=None, target=None):
        if fullname not in MENDED:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path)
        run = spec.loader.exec_module

        def exec_module(module):
            run(module)
            for mend in MENDED[fullname]:
                mend(module)

        spec.loader.exec_module = exec_module
        return spec


sys.meta_path.insert(0, _Finder())
atexit.register(lambda: time.sleep(0.5 * ("LOCAL_RANK" in os.environ)))  # forks become ranks later
