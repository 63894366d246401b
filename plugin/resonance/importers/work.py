# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""What an import that is not finished leaves on disk, and how it goes on. Standard library only.

``OUT/.NAME.import/`` holds the rows and the skipped rows so far, and a state that says how many bytes of each are
sound and where in the source they end. The state is replaced whole, after what it speaks of is on the disk, so what a
killed process wrote behind it is cut off and made again.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..datafiles.unread import media_kind, told_unread
from ..datafiles.write import RowWriter, open_own, replacing
from .columns import ReadRow
from .spec import Skip

STATE, ROWS, SKIPPED = "state.json", "rows.jsonl", "skipped.jsonl"


@dataclass
class Tally:
    """What an import has done so far.

    Attributes:
        rows_in: raw rows read.
        rows_out: examples to be written, a row each; one raw row can give several.
        skipped: examples left out, by reason.
        rows_skipped: raw rows of which no example could be made, by reason.
        scored: rows with scores.
        listed: how many of both have a line in the list.
        columns: of the rows, in the order of their first appearance.
        showing: the rows, by number, in which a column appears first.
        unread: columns of raw rows that nobody asked for, and the media column that each suits, if any.
        read: their other columns.
        seconds: spent, over all starts.
        finished: the source has been read to its end.
    """

    rows_in: int = 0
    rows_out: int = 0
    skipped: dict[str, int] = field(default_factory=dict)
    rows_skipped: dict[str, int] = field(default_factory=dict)
    scored: int = 0
    listed: int = 0
    columns: list[str] = field(default_factory=list)
    showing: list[int] = field(default_factory=list)
    unread: dict[str, str | None] = field(default_factory=dict)
    read: list[str] = field(default_factory=list)
    seconds: float = 0.0
    finished: bool = False

    @property
    def gapped(self) -> bool:
        """Whether some rows have scores and some have none: then they are no scores of the set."""
        return 0 < self.scored < self.rows_out

    @property
    def unit(self) -> str:
        """What a written row is; a row that was read can give several."""
        return "pair" if "chosen" in self.columns else "example"

    def note(self, row: ReadRow) -> None:
        """Take in which columns of a raw row were read."""
        self.read += [name for name in row.read if name not in self.read]
        for name, value in row.unread.items():
            if name not in self.unread:
                self.unread[name] = media_kind([value])

    @property
    def told_unread(self) -> str:
        """Which columns were not read, in words."""
        return told_unread({name: kind for name, kind in self.unread.items() if name not in self.read})


class Work:
    """The folder of one import.

    Args:
        folder: where it is, or will be.
        order: JSON that says what is being imported and how.

    Raises:
        ValueError: if the folder holds an import of another order, or is damaged.
    """

    def __init__(self, folder: Path, order: dict[str, Any]) -> None:
        self.folder, self.order = folder, order
        self.tally, self.position = Tally(), None
        self.resumed = (folder / STATE).is_file()
        if self.resumed:
            self._take_up()
        folder.mkdir(parents=True, exist_ok=True)
        self.rows, self.skips = open_own(folder / ROWS, "a"), open_own(folder / SKIPPED, "a")
        self._rows, self._skips = RowWriter(self.rows, lines=True), RowWriter(self.skips, lines=True)
        if not self.resumed:
            self.rows.truncate(0)
            self.skips.truncate(0)
            try:
                self.save(None)
            except BaseException:
                self.remove()
                raise

    def _take_up(self) -> None:
        state_file = self.folder / STATE
        try:
            state = json.loads(state_file.read_text(encoding="utf-8"))
            order, self.position, sizes = state["order"], state["position"], state["sizes"]
            self.tally = Tally(**state["tally"])
            whole = all((self.folder / name).stat().st_size >= size for name, size in sizes.items())
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{state_file}: cannot be read ({error}). --restart starts over.") from error
        if order != self.order:
            raise ValueError(
                f"{self.folder} holds an unfinished import that was started differently:\n"
                f"{_differences(order, self.order)}\nRepeat that command to finish it, or add --restart to start over."
            )
        if not whole:
            raise ValueError(f"{self.folder}: its files are shorter than it says. --restart starts over.")
        for name, size in sizes.items():
            os.truncate(self.folder / name, size)

    def write(self, row: dict[str, Any]) -> None:
        """Append a row."""
        self._rows.write(row)
        if new := [name for name in row if name not in self.tally.columns]:
            self.tally.columns += new
            self.tally.showing.append(self.tally.rows_out)
        self.tally.rows_out += 1
        self.tally.scored += row.get("score_chosen") is not None

    def skip(self, file: str, row: int, skip: Skip) -> None:
        """Count what was left out, and list it."""
        counts = self.tally.rows_skipped if skip.whole_row else self.tally.skipped
        counts[skip.reason] = counts.get(skip.reason, 0) + skip.count
        if skip.listed:
            line = {"file": file, "row": row, "reason": skip.reason, "detail": skip.detail}
            self._skips.write({key: _writable(value) for key, value in line.items()})
            self.tally.listed += 1

    def save(self, position: Any) -> None:
        """Make what has been written count, up to this place in the source."""
        sizes = {}
        for name, file in ((ROWS, self.rows), (SKIPPED, self.skips)):
            file.flush()
            os.fsync(file.fileno())
            sizes[name] = os.fstat(file.fileno()).st_size
        state = {"order": self.order, "position": position, "sizes": sizes, "tally": asdict(self.tally)}
        with replacing(self.folder / STATE, follow=False) as out:
            json.dump(state, out, indent=1)

    def close(self) -> None:
        self.rows.close()
        self.skips.close()

    def remove(self) -> None:
        """Delete the folder, the state first: without it the rest counts for nothing."""
        self.close()
        (self.folder / STATE).unlink(missing_ok=True)
        shutil.rmtree(self.folder, ignore_errors=True)


def _writable(value: Any) -> Any:
    """Text of a row may hold halves of characters, which no file can."""
    return value.encode("utf-8", "backslashreplace").decode("utf-8") if isinstance(value, str) else value


def _differences(old: dict[str, Any], new: dict[str, Any]) -> str:
    def line(key: str) -> str:
        return f"  {key}: {json.dumps(old.get(key))[:200]} then, {json.dumps(new.get(key))[:200]} now"

    return "\n".join(line(key) for key in {**old, **new} if old.get(key) != new.get(key))
