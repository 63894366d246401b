# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""docs/reward_v1.schema.json is what the server asks for, and what judges are sent and the documentation show.

python tests/serve/test_schema.py    # writes the file
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from judges import scored, serving
from resonance.rewards import Completions, make_rewards, score
from resonance.serve import schema
from resonance.serve.schema import json_schema

DOCS = Path(__file__).parents[2] / "docs"
FILE = DOCS / "reward_v1.schema.json"
TYPES = {"object": dict, "array": list, "string": str, "number": (int, float), "integer": int, "null": type(None)}
KNOWN = {
    "$schema", "$defs", "$ref", "title", "description", "default", "type", "anyOf", "const", "items",
    "properties", "required", "additionalProperties",
}  # fmt: skip


def faults(value: Any, schema: dict[str, Any], whole: dict[str, Any], where: str = "$") -> list[str]:
    """What in a value is against a JSON schema, of which all words that ours uses are known."""
    assert schema.keys() <= KNOWN, schema.keys() - KNOWN
    if "$ref" in schema:
        return faults(value, whole["$defs"][schema["$ref"].rpartition("/")[2]], whole, where)
    if "anyOf" in schema and all(faults(value, part, whole, where) for part in schema["anyOf"]):
        return [f"{where}: none of anyOf"]
    if "const" in schema and (value != schema["const"] or isinstance(value, bool)):
        return [f"{where}: not {schema['const']}"]
    kind = schema.get("type")
    if kind and (not isinstance(value, TYPES[kind]) or isinstance(value, bool)):
        return [f"{where}: no {kind}"]
    found = []
    if isinstance(value, dict):
        properties = schema.get("properties", {})
        found += [f"{where}: no {name}" for name in schema.get("required", []) if name not in value]
        found += [
            f"{where}: {n}?" for n in value if n not in properties and not schema.get("additionalProperties", True)
        ]
        for name in value.keys() & properties.keys():
            found += faults(value[name], properties[name], whole, f"{where}.{name}")
    if isinstance(value, list):
        found += [
            fault for at, one in enumerate(value) for fault in faults(one, schema["items"], whole, f"{where}.{at}")
        ]
    return found


def against(name: str, value: Any) -> list[str]:
    schema = json.loads(FILE.read_text())
    return faults(value, {"$ref": f"#/$defs/{name}"}, schema)


def test_the_file_is_the_servers_own():
    assert FILE.read_text() == text(), "python tests/serve/test_schema.py writes it anew"


def test_what_a_judge_is_sent_is_of_the_schema():
    with serving(scored(lambda item: 1.0)) as server:
        data = Completions(
            ["a", "b"],
            ["?"] * 2,
            [["tests/golden/trajectory/data/images/0.png"], []],
            columns={"answer": ["1", None]},
            messages=[[{"role": "system", "content": "s"}, {"role": "user", "content": "<image>?"}]] * 2,
        )
        for images in ("path", "none"):
            score(make_rewards([{"url": server.url, "columns": ["answer"], "images": images}]), data)
        make_rewards([{"url": server.url}])[0].check()
    for body in server.bodies("/v1/score"):
        assert against("ScoreRequest", body) == []


def test_the_examples_of_the_documentation_are_of_the_schema():
    blocks = re.findall(r"```json\n(.*?)```", (DOCS / "judges.md").read_text(), re.DOTALL)
    values = [json.loads(block) for block in blocks]
    requests = [value for value in values if "items" in value]
    answers = [value for value in values if "items" not in value]
    assert len(requests) == len(answers) == 1
    assert against("ScoreRequest", requests[0]) == against("ScoreAnswer", answers[0]) == []
    assert [item["id"] for item in requests[0]["items"]] == [each["id"] for each in answers[0]["scores"]]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ScoreRequest", {"version": 2, "items": []}),
        ("ScoreRequest", {"version": True, "items": []}),
        ("ScoreRequest", {"items": []}),
        ("ScoreRequest", {"version": 1, "items": [{"id": "0", "messages": []}]}),
        ("ScoreRequest", {"version": 1, "items": [], "more": 1}),
        ("ScoreAnswer", {"version": 1, "scores": [{"id": "0"}]}),
        ("ScoreAnswer", {"version": 1, "scores": [{"id": "0", "score": "1"}]}),
    ],
)
def test_what_is_not_of_the_schema(name, value):
    assert against(name, value)
    with pytest.raises(ValidationError):
        getattr(schema, name).model_validate(value)


def text() -> str:
    return json.dumps(json_schema(), indent=2) + "\n"


if __name__ == "__main__":
    FILE.write_text(text())
