# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Features of pictures from a vision tower that does not train, kept in host memory from one epoch to the next.

Each picture is encoded by a call of its own, so that its features depend on nothing but the picture:
one that is found is bit for bit what encoding it again would give, whichever batch it first came in.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.utils._pytree import tree_flatten, tree_unflatten

from . import pictures
from .account import Account
from .tower import dropout, has_adapters, is_frozen, join, tower_modules, tower_parameters

_BLOCK = 1 << 26  # bytes of host memory allocated at a time
_ALIGNED = 64
# Of the tower's layers, before the projector: read by the model before it returns features, and much larger than they.
_INTERMEDIATE = ("last_hidden_state", "hidden_states", "attentions")
_CLOSE, _CLOSE_HALF = 1e-5, 3e-2  # of the largest feature: one picture a call against all in one call


class HostMemory:
    """Append-only host memory of at most `budget` bytes, for tensors of a device. Pinned where that speeds up copies.

    Blocks have powers of two as sizes: what torch pins is rounded up to one.
    """

    def __init__(self, budget: int) -> None:
        self.budget = budget
        self.allocated = 0
        self._block, self._at = torch.empty(0, dtype=torch.uint8), 0

    def keep(self, tensors: list[torch.Tensor]) -> list[torch.Tensor] | None:
        """Copies of `tensors`, or None if there is no room for all."""
        sizes = [-(-t.nbytes // _ALIGNED) * _ALIGNED for t in tensors]
        if not self._room(sum(sizes), pinned=tensors[0].device.type == "cuda"):
            return None
        kept = []
        for tensor, size in zip(tensors, sizes, strict=True):
            place = self._block[self._at : self._at + tensor.nbytes].view(tensor.dtype).view(tensor.shape)
            kept.append(place.copy_(tensor, non_blocking=True))
            self._at += size
        return kept

    def _room(self, size: int, pinned: bool) -> bool:
        if self._at + size <= len(self._block):
            return True
        left = self.budget - self.allocated
        block = min(max(_BLOCK, _power_of_two_from(size)), _power_of_two_from(left + 1) // 2)
        if block < size or not size:
            return False
        self._block, self._at = torch.empty(block, dtype=torch.uint8, pin_memory=pinned), 0
        self.allocated += block
        return True


def _power_of_two_from(size: int) -> int:
    return 1 << max(0, size - 1).bit_length()


class FeatureCache:
    """Features by the content of pictures, for the tower of one model at a time.

    When the budget is full nothing more is admitted and nothing is evicted: epochs visit pictures in random order, so
    what was used longest ago is as likely to come next as any other, and replacing it would only cost copies.

    Args:
        budget: bytes of host memory.
        pictures: how many this process is to see before the first of them come again. Until it has encoded more than
            that, nothing found is no sign that the cache does not pay.
        tell: takes lines about what the cache does.
        window: pictures from which it is judged whether the cache pays.
    """

    def __init__(self, budget: int, pictures: int, tell: Callable[[str], None], window: int = 64) -> None:
        self.reason: str | None = None  # why it is off for good
        self._judged_by = pictures, window
        self.account = Account(pictures, window)
        self._budget, self._tell = budget, tell
        self._tower: tuple[Any, ...] = ()
        self._told: set[str] = set()
        self._empty()

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def bytes(self) -> int:
        """Of host memory in use."""
        return self._memory.allocated

    def summary(self) -> str:
        """One line on what it has done."""
        saved = f"{self.account.hits} of {self.account.lookups} pictures were not encoded again"
        return f"{saved}; {len(self)} kept in {self.bytes / 1e6:.1f} MB"

    def serves(self, model: torch.nn.Module) -> bool:
        """Whether it can be used with the tower of `model` as it is now. Empties it if the tower has changed."""
        if self.reason is not None:
            return False
        if not is_frozen(model):
            self._empty()
            self._once("not used while the vision tower trains.")
            return False
        tensors = tower_parameters(model)
        tower = tuple((id(t), t._version) for t in tensors)
        if tower != self._tower:
            self._empty()
            # what the tower of a reference was asked before does not tell whether this one's features pay
            self._tower, self.account = tower, Account(*self._judged_by)
            if why := unfit(model):
                self.stop(why)
        return self.reason is None

    def encode(self, name: str, original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """What `original(*args, **kwargs)`, named `name`, returns, from memory where there; without the states of the
        tower's layers. For a model that `serves` accepts, without a graph."""
        if self.reason is not None:
            return original(*args, **kwargs)
        calls = pictures.split(args, kwargs)
        if calls is None:
            self.stop("the pictures of a batch cannot be told apart in the inputs of this tower")
            return original(*args, **kwargs)
        if len(calls) > 1 and name not in self._compared:
            return self._compare(name, original, calls, original(*args, **kwargs))
        found = self._each(name, original, calls)
        return original(*args, **kwargs) if found is None else found

    def stop(self, why: str) -> None:
        """Switch off for good and give the memory back."""
        if self.reason is None:
            self.reason = why
            self._empty()
            self._tell(f"image_feature_cache: switched off: {why}.")

    # -- one picture ----------------------------------------------------------------------------------------------

    def _each(self, name: str, original: Callable[..., Any], calls: list[pictures.Call]) -> Any:
        """Features of all calls, each found or made; None if their structure is not known."""
        given = [*calls[0][0], *calls[0][1].values()]
        device = next(v for v in given if isinstance(v, torch.Tensor) and v.is_floating_point()).device
        with self.account.time("look up", device, len(calls)):
            autocast = torch.is_autocast_enabled(device.type) and torch.get_autocast_dtype(device.type)
            keys = [(name, autocast, *key) for key in pictures.keys(calls)]
        parts = []
        for key, (args, kwargs) in zip(keys, calls, strict=True):
            found = key in self._entries
            self.account.count(found)
            if found:
                with self.account.time("fetch", device):
                    kept, structure = self._entries[key]
                    copies = [torch.empty_like(t, device=device).copy_(t, non_blocking=True) for t in kept]
                    parts.append(tree_unflatten(copies, structure))
                continue
            with self.account.time("encode", device):
                features = _needed(original(*args, **kwargs))
            if features is None:
                self.stop("the features of this tower have a structure that is not known")
                return None
            parts.append(features)
            self._keep(key, features, device)
        if verdict := self.account.verdict():
            self.stop(verdict)
        return parts[0] if len(parts) == 1 else join(parts)

    def _keep(self, key: Any, features: Any, device: torch.device) -> None:
        with self.account.time("keep", device):
            tensors, structure = tree_flatten(features)
            kept = self._memory.keep(tensors)
        if kept is not None:
            self._entries[key] = kept, structure
        else:
            self._once(f"full with {len(self)} pictures in {self.bytes / 1e6:.1f} MB; others are encoded each time.")

    # -- as exact as all at once ----------------------------------------------------------------------------------

    def _compare(self, name: str, original: Callable[..., Any], calls: list[pictures.Call], whole: Any) -> Any:
        """The first time that a call has several pictures: are they, one by one, what they are together?"""
        try:
            found = self._each(name, original, calls)
        except torch.OutOfMemoryError:
            raise
        except (IndexError, RuntimeError, TypeError, ValueError) as error:
            self.stop(f"the tower does not take one picture alone ({type(error).__name__}: {error})")
            return whole
        if found is None:
            return whole
        off = _distance(found, _needed(whole))
        if off is not None:
            self.stop(f"features of a picture depend on the others in its batch ({off})")
            return whole
        self._compared.add(name)
        return found

    def _empty(self) -> None:
        self._entries: dict[Any, tuple[list[torch.Tensor], Any]] = {}
        self._memory = HostMemory(self._budget)
        self._compared: set[str] = set()

    def _once(self, line: str) -> None:
        if line not in self._told:
            self._told.add(line)
            self._tell(f"image_feature_cache: {line}")


def unfit(model: torch.nn.Module) -> str | None:
    """Why features of a frozen tower are not a function of the picture alone, or cannot be left out on one rank."""
    if hasattr(model, "_orig_mod"):
        return "torch.compile"
    towers = tower_modules(model)
    if active := next(filter(None, map(dropout, towers)), None):
        return f"dropout is on in the vision tower ({active})"
    if any(isinstance(m, torch.nn.modules.batchnorm._BatchNorm) for tower in towers for m in tower.modules()):
        return "the vision tower normalises over the batch"
    if has_adapters(model):
        return "the vision tower has adapters"
    # every call gathers them on all ranks, and the ranks find different pictures
    if any(hasattr(p, "ds_id") or hasattr(p, "placements") or not p.numel() for p in tower_parameters(model)):
        return "the weights of the vision tower are spread over ranks, which would wait for each other (ZeRO-3, FSDP)"
    return None


def _needed(features: Any) -> Any:
    """Features without the states of the tower's layers; None for an unknown structure."""
    if hasattr(features, "keys"):
        if features.get("pooler_output") is None:  # where Transformers puts what the language model reads
            return None
        features = type(features)(**{name: features[name] for name in features.keys() if name not in _INTERMEDIATE})
    tensors = tree_flatten(features)[0]
    return features if tensors and all(isinstance(tensor, torch.Tensor) for tensor in tensors) else None


def _distance(ours: Any, theirs: Any) -> str | None:
    """How features differ, or None if they agree to rounding."""
    (found, structure), (wanted, expected) = tree_flatten(ours), tree_flatten(theirs)
    if structure != expected or [t.shape for t in found] != [t.shape for t in wanted]:
        return "another structure or shape"
    off = max(float((a - b).abs().max() / b.abs().max().clamp(min=1e-12)) for a, b in zip(found, wanted, strict=True))
    half = found[0].dtype in (torch.bfloat16, torch.float16) or torch.backends.cuda.matmul.allow_tf32
    half = half or torch.is_autocast_enabled(found[0].device.type)
    return None if off <= (_CLOSE_HALF if half else _CLOSE) else f"by {off:.0e} of their size"
