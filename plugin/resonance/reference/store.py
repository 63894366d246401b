# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Log-probabilities of a reference model on disk: shards of safetensors beside a manifest of how they were made.

Storage only: it calls no model. A shard is there whole or not at all, so a run that was killed goes
on from what it had finished. A folder belongs to the settings of the first run that began to write there, and every
shard carries a hash of its own: of runs with different models that start together, one keeps the folder.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from ..datafiles.write import replacing
from .fingerprint import short
from .keys import KEY_BYTES

SCHEMA_VERSION = 2
MANIFEST = "manifest.json"
_SHARDS = "*.safetensors"
_TENSORS = ("keys", "logps", "lengths")


class ReferenceStore:
    """Log-probabilities that one reference model gives to rows of K responses each, by row key.

    Args:
        folder: made when something is written.
        settings: all that the numbers depend on beside the row, by name; JSON values.
        made_from: for people who look into the manifest: names, versions. Not compared.
        responses: K, of each row: 2 for pairs.

    Raises:
        ValueError: the folder was made with other settings (names each), or holds a file that cannot be read.
    """

    def __init__(
        self, folder: str | Path, settings: Mapping[str, Any], made_from: Mapping[str, Any], responses: int
    ) -> None:
        self.folder = Path(folder)
        self.settings = {"schema_version": SCHEMA_VERSION, **settings}
        # a setting that is None counts like one that the manifest does not have
        self._settings_hash = short({name: value for name, value in self.settings.items() if value is not None})
        self.made_from = dict(made_from)
        self._read: set[str] = set()
        self._places: dict[bytes, int] = {}
        self.responses = responses
        self._logps, self._lengths = torch.empty(0, responses), torch.empty(0, responses, dtype=torch.int32)
        self._check_manifest()
        self.reload()

    def __contains__(self, key: bytes) -> bool:
        return key in self._places

    def __len__(self) -> int:
        return len(self._places)

    def lookup(self, keys: Sequence[bytes], means: bool) -> torch.Tensor:
        """Log-probabilities of the responses of N rows, (N, K) float32: sums, or means a token.

        Raises:
            KeyError: a key is not in the store.
        """
        places = torch.tensor([self._places[key] for key in keys], dtype=torch.long)
        logps = self._logps[places]
        return logps / self._lengths[places] if means else logps

    def begin(self) -> None:
        """Claim the folder by its manifest, if there is none. One process of a run does this before any `add`.

        Raises:
            ValueError: another run with other settings has claimed it since this store was opened.
        """
        path = self.folder / MANIFEST
        if not path.exists():
            own = self.folder / f".{MANIFEST}.{uuid.uuid4().hex}"
            with replacing(own, follow=False) as file:
                file.write(json.dumps({"settings": self.settings, "made_from": self.made_from}, indent=2) + "\n")
            try:
                os.link(own, path)  # of several runs that come here at once, one gets the name
            except FileExistsError:
                pass
            except OSError:  # a file system without links: runs that meet here find each other's shards at the end
                os.replace(own, path)
            finally:
                own.unlink(missing_ok=True)
        self._check_manifest()

    def add(self, keys: Sequence[bytes], logps: torch.Tensor, lengths: torch.Tensor) -> None:
        """Write a shard of N rows: `logps` (N, K) sums over each response and `lengths` (N, K) their tokens.

        Any number of processes may do so at the same time; each sees the others' shards after `reload`.

        Raises:
            ValueError: a log-probability is not finite, or the shapes are others.
        """
        if not logps.shape == lengths.shape == (len(keys), self.responses):
            shapes = f"logps {tuple(logps.shape)}, lengths {tuple(lengths.shape)}"
            raise ValueError(f"{len(keys)} rows of {self.responses} responses, but {shapes}")
        if not bool(torch.isfinite(logps).all()):
            raise ValueError(
                f"the reference model gives log-probabilities that are not finite for "
                f"{int((~torch.isfinite(logps)).any(1).sum())} of {len(logps)} rows; nothing of them was stored"
            )
        shard = {
            "keys": torch.frombuffer(bytearray(b"".join(keys)), dtype=torch.uint8).view(-1, KEY_BYTES),
            "logps": logps.detach().to("cpu", torch.float32).contiguous(),
            "lengths": lengths.to("cpu", torch.int32).contiguous(),
        }
        made_of = {"settings": self._settings_hash, "checksum": _checksum(shard)}
        with replacing(self.folder / f"shard-{uuid.uuid4().hex}.safetensors", "wb", follow=False) as file:
            file.write(save(shard, made_of))

    def reload(self) -> None:
        """Read the shards that have come since the last time.

        Raises:
            ValueError: one cannot be read, or belongs to other settings.
        """
        for path in sorted(self.folder.glob(_SHARDS)):
            if path.name in self._read:
                continue
            keys, logps, lengths = _read_shard(path, self.responses, self._settings_hash)
            for number, key in enumerate(keys, len(self._logps)):
                self._places[key] = number
            self._logps, self._lengths = torch.cat((self._logps, logps)), torch.cat((self._lengths, lengths))
            self._read.add(path.name)

    def _check_manifest(self) -> None:
        path = self.folder / MANIFEST
        cure = (
            "Give another `ref_log_probs_dir`, or delete this folder to compute it again, or set the recipe as it was."
        )
        if not path.is_file():
            if next(self.folder.glob(_SHARDS), None) is not None:
                raise ValueError(f"ref_log_probs_dir: {self.folder} has shards but no {MANIFEST}. {cure}")
            return
        try:
            made = json.loads(path.read_text(encoding="utf-8"))["settings"]
            items = dict(made)
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise ValueError(f"ref_log_probs_dir: {path} is no manifest of this kind ({error!r}). {cure}") from error
        names = dict.fromkeys([*self.settings, *items])
        now = json.loads(json.dumps(self.settings))
        differ = [name for name in names if items.get(name) != now.get(name)]
        if differ:
            lines = "".join(f"\n  - {name}: {items.get(name)!r}, now {now.get(name)!r}" for name in differ)
            raise ValueError(
                f"ref_log_probs_dir: the log-probabilities in {self.folder} were made with other settings:{lines}\n"
                f"{cure}"
            )


def _read_shard(path: Path, responses: int, settings_hash: str) -> tuple[list[bytes], torch.Tensor, torch.Tensor]:
    try:
        with safe_open(path, "pt") as file:
            made_of = file.metadata() or {}
            shard = {name: file.get_tensor(name) for name in _TENSORS}
        keys, logps, lengths = shard.values()
        if not (keys.shape[1] == KEY_BYTES and logps.shape == lengths.shape == (len(keys), responses)):
            raise ValueError("its tensors have other shapes")
        if made_of.get("settings") != settings_hash:
            raise ValueError(f"it was made with other settings than {MANIFEST} lists, by another run")
        if made_of.get("checksum") != _checksum(shard):
            raise ValueError("its numbers have changed since they were written")
    except (OSError, SafetensorError, KeyError, IndexError, ValueError) as error:
        raise ValueError(
            f"ref_log_probs_dir: {path} cannot be read ({error}). Delete it; its rows will be computed again."
        ) from error
    flat = bytes(keys.contiguous().numpy())
    return [flat[i : i + KEY_BYTES] for i in range(0, len(flat), KEY_BYTES)], logps, lengths


def _checksum(shard: Mapping[str, torch.Tensor]) -> str:
    digest = blake2b(digest_size=8)
    for name in _TENSORS:
        digest.update(shard[name].contiguous().numpy().tobytes())
    return digest.hexdigest()
