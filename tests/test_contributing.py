# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""CONTRIBUTING.md's table of rooms is the one that `test_shape_of_code.py` enforces.

python tests/test_contributing.py    # writes the table into CONTRIBUTING.md
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

from test_shape_of_code import ARROWS, IMPORTS_LLAMAFACTORY, ONLY_TORCH, WITHOUT_TORCH, file_of

CONTRIBUTING = Path(__file__).parents[1] / "CONTRIBUTING.md"
BEGIN, END = "<!-- rooms: written by tests/test_contributing.py -->\n", "<!-- end of rooms -->\n"


def table() -> str:
    """What each room is, in its own words, and what it may import, as the tests enforce it."""
    lines = ["| room | what | may import |", "|---|---|---|"]
    for room, others in ARROWS.items():
        words = ast.get_docstring(ast.parse(file_of(room).read_text(encoding="utf-8"))) or ""
        what = re.split(r"(?<=\.)\s", words.partition("\n")[0])[0]
        outside = ["torch only"] if room in ONLY_TORCH else []
        outside += ["LlamaFactory"] if room in IMPORTS_LLAMAFACTORY else []
        outside += ["torch inside functions"] if room in WITHOUT_TORCH else []
        allowed = ", ".join([*(f"`{other}`" for other in sorted(others)), *outside])
        lines.append(f"| `{room if room.endswith('.py') else f'{room}/'}` | {what} | {allowed} |")
    return "\n".join(lines) + "\n"


def with_table(text: str) -> str:
    before, _, rest = text.partition(BEGIN)
    return f"{before}{BEGIN}\n{table()}\n{END}{rest.partition(END)[2]}"


def test_the_table_of_rooms_is_the_enforced_one() -> None:
    text = CONTRIBUTING.read_text(encoding="utf-8")
    assert text.count(BEGIN) == text.count(END) == 1
    assert text == with_table(text), "python tests/test_contributing.py writes it anew"


if __name__ == "__main__":
    CONTRIBUTING.write_text(with_table(CONTRIBUTING.read_text(encoding="utf-8")), encoding="utf-8")
