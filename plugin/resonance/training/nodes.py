# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Do the nodes of a run see the same files? Ranks that do not agree on them wait for each other without end.

A node is a machine, or a container with disks of its own.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, NamedTuple

from accelerate.utils import gather_object
from llamafactory.extras import logging
from llamafactory.extras.misc import has_tokenized_data

from ..arguments.resume import newest_complete
from .together import on_all_ranks, several_nodes

logger = logging.get_logger(f"llamafactory.{__name__}")  # below LlamaFactory's logger: its format, its log files


class Seen(NamedTuple):
    """What a rank sees.

    Attributes:
        rank: its number.
        host: its machine.
        checkpoint: name of the folder that it would go on from, or None.
        tokenized: whether the set in `tokenized_path` is there.
        output: whether a file that the first rank has put into `output_dir` is there.
    """

    rank: int
    host: str
    checkpoint: str | None
    tokenized: bool
    output: bool

    def __str__(self) -> str:
        return f"rank {self.rank} ({self.host})"


def check_nodes(data: Any, training: Any) -> None:
    """Stop a run whose nodes see different files where they need the same, on all ranks.

    Args:
        data: LlamaFactory's data arguments.
        training: training arguments, with the checkpoint that the run is to go on from.

    Raises:
        ValueError: naming what, and which rank sees what.
    """
    if not several_nodes():
        return
    point = training.resume_from_checkpoint if training.do_train else None
    point = newest_complete(training.output_dir) if point is True else point
    folder = data.tokenized_path
    tokenized = folder is not None and has_tokenized_data(folder)
    saves = training.do_train and str(getattr(training.save_strategy, "value", training.save_strategy)) != "no"
    output = _sees_output(training.output_dir, training.process_index) if saves else True
    mine = Seen(training.process_index, socket.gethostname(), Path(point).name if point else None, tokenized, output)
    everyone = sorted(gather_object([mine]))
    if found := problems(everyone, training.output_dir, folder, saves and training.save_on_each_node):
        raise ValueError("".join(f"{problem}\n" for problem in found).rstrip())
    if (apart := [seen for seen in everyone if not seen.output]) and not training.save_on_each_node:
        logger.warning_rank0(
            f"output_dir: {_named(apart)} {'do' if len(apart) > 1 else 'does'} not see what {everyone[0]} writes to "
            f"{training.output_dir}. Each checkpoint will lie in parts on several disks, and no run can go on from "
            "it. Put output_dir on a disk that all nodes share, or set `save_on_each_node: true`."
        )


def problems(everyone: Sequence[Seen], output_dir: str, tokenized_path: str | None, on_each_node: bool) -> list[str]:
    """Where the nodes see different files and need the same, or the same and need different ones.

    Args:
        everyone: of all ranks, in their order.
        output_dir: of the run.
        tokenized_path: of the run.
        on_each_node: `save_on_each_node` of a run that saves checkpoints.
    """
    found = []
    if len({seen.checkpoint for seen in everyone}) > 1:
        points = "; ".join(f"{seen}: {seen.checkpoint or 'none'}" for seen in everyone)
        found.append(
            f"resume_from_checkpoint: the ranks would not go on from the same checkpoint. {points}. The nodes do not "
            f"share output_dir ({output_dir}). Copy the checkpoint's files from the first node to the others, "
            "where those with a rank in their name have to stay, or start anew in an output_dir that all nodes share, "
            "or with `save_on_each_node: true`."
        )
    with_set, without = ([seen for seen in everyone if seen.tokenized is has] for has in (True, False))
    if with_set and without:
        found.append(
            f"tokenized_path: {tokenized_path} holds a set on {_named(with_set)}, and none on {_named(without)}: some "
            "would read it, others make it, and wait for each other. Copy it to all nodes, delete it everywhere, or "
            "put it on a disk that they share; `save_on_each_node: true` keeps one on each node."
        )
    other = [seen for seen in everyone[1:] if seen.output]
    if on_each_node and other:
        found.append(
            f"save_on_each_node: {everyone[0]} and {_named(other)} share output_dir ({output_dir}), and would write "
            "the same files at the same time. Remove the key, or give each node an output_dir of its own."
        )
    return found


def _named(some: Sequence[Seen]) -> str:
    return ", ".join(map(str, some[:4])) + f" and {len(some) - 4} more" * (len(some) > 4)


def _sees_output(output_dir: str, rank: int) -> bool:
    """Whether this rank sees what the first one writes there."""
    folder = Path(output_dir)

    def look(name: str | None = None) -> bool:
        folder.mkdir(parents=True, exist_ok=True)
        return name is None or (folder / name).is_file()

    on_all_ranks(look)
    with NamedTemporaryFile(prefix=".seen-by-all-", dir=folder) as file:  # of each rank; the first one's counts
        name = gather_object([Path(file.name).name])[0]
        seen = look(name)
        gather_object([rank])  # all have looked before it goes
    return seen
