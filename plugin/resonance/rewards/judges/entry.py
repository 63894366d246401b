# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""From an entry `{url: ...}` of a recipe to a judge, with all that is wrong with it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from ...spec import FINITE, Range, nearest_first
from ...wire import checked_host
from . import chat
from .api import Api
from .cache import Cache
from .chat import ChatApi
from .judge import HttpJudge, Line
from .own import OwnApi
from .texts import TextsApi

COMMON: Mapping[str, Any] = {
    "api": "resonance",
    "timeout": 120.0,
    "retries": 3,
    "concurrency": 8,
    "key_env": "",
    "on_nan": "stop",
    "cache": None,
    "cache_entries": 1_000_000,
}
OWN_KEYS: Mapping[str, Mapping[str, Any]] = {  # api -> key -> default
    "resonance": {"images": "base64", "batch_size": 16, "columns": []},
    "llamafactory": {"batch_size": 16, "model": "model", "suffix": ""},
    "openai": {
        "images": "base64",
        "model": None,
        "template": chat.TEMPLATE,
        "pattern": None,
        "range": [0, 10],
        "max_tokens": 512,
        "body": {},
    },
}
IMAGES = {"resonance": ("base64", "path", "none"), "openai": ("base64", "none")}
FIXED = ("model", "messages", "n", "stream", "max_tokens")  # of a body, that keys of their own or we decide
VARIABLE = re.compile(r"([A-Z_][A-Z0-9_]*)?")
# What no score depends on, so that a run may go on with another value.
FREE = ("timeout", "retries", "concurrency", "batch_size", "key_env", "cache", "cache_entries")


def host_of(url: object) -> str:
    """The server of a URL, to be shown; a URL that is wrong may have a secret in it."""
    try:
        checked_host(url)  # type: ignore[arg-type]
    except ValueError:
        return "url"
    return str(url).partition("://")[2].partition("/")[0]


def read_judge(url: object, extra: Mapping[str, Any], known: set[str] | None) -> tuple[HttpJudge | None, list[str]]:
    """The judge of an entry, None where it has problems, and these.

    Args:
        url: of the server.
        extra: its other keys.
        known: columns of the data, None where they are not known.
    """
    api = extra.get("api", COMMON["api"])
    if not isinstance(api, str) or api not in OWN_KEYS:
        return None, [f"api={api!r} is unknown ({nearest_first(str(api), OWN_KEYS)})"]
    defaults = {**COMMON, **OWN_KEYS[api]}
    problems = [
        f"it has no key '{key}' ({nearest_first(key, {*defaults, 'url', 'weight', 'label'})})"
        for key in extra
        if key not in defaults
    ]
    values = {**defaults, **{key: value for key, value in extra.items() if key in defaults}}
    wrong = {key: rule for key, rule in RULES.items() if key in values and not rule[0](values[key])}
    problems += [f"{key}={values[key]!r} is not allowed, it must be {rule}" for key, (_, rule) in wrong.items()]
    if not isinstance(values["key_env"], str) or not VARIABLE.fullmatch(values["key_env"]):
        problems.append(
            "key_env is not the name of an environment variable in capitals, like JUDGE_KEY. (Its value is not shown: "
            "if it is the key, keep it out of the recipe, in the environment)"
        )
    if "images" in values and values["images"] not in IMAGES[api]:
        problems.append(f"images={values['images']!r} is unknown ({', '.join(IMAGES[api])})")
    if not problems:
        problems = _api_problems(api, values, known)
    line = Line(str(url), values["timeout"], values["retries"], values["concurrency"], values["key_env"])
    problems += _url_problems(url, api, line, problems)
    if problems:
        return None, problems
    cache = Cache(values["cache"], values["cache_entries"]) if values["cache"] else None
    on_nan = values["on_nan"]
    return HttpJudge(APIS[api](values), line, values.get("images", "none"), on_nan, cache), []


def _url_problems(url: object, api: str, line: Line, others: list[str]) -> list[str]:
    """Of the URL, and of the key, which is looked for where nothing else is wrong."""
    if not isinstance(url, str):
        return [f"url={url!r} must be a text"]
    try:
        checked_host(url)
        bare, path = url.rstrip("/"), PATHS[api]
        if path and bare.endswith(path):
            return [f"url: {path} is added to it; leave that off: `url: {bare.removesuffix(path)}`"]
        if not others:
            line.client().close()
    except ValueError as error:
        return [str(error)]
    return []


def _api_problems(api: str, values: Mapping[str, Any], known: set[str] | None) -> list[str]:
    """Beyond the values of single keys."""
    problems, columns = [], values.get("columns", [])
    if api == "openai":
        if values["model"] is None:
            problems.append("it needs `model`, the name under which the server knows it")
        fields = chat.FIELD.findall(values["template"])
        columns = [name for name in fields if name not in chat.OWN_FIELDS]
        problems += [f"template: it has no {{{name}}}" for name in ("prompt", "completion") if name not in fields]
        problems += [f"body.{key} is decided by the judge; remove it" for key in FIXED if key in values["body"]]
    if known is None:
        return problems
    return problems + [
        f"the data has no column '{name}' ({nearest_first(name, known)})" for name in columns if name not in known
    ]


def _whole(least: int) -> tuple[Callable[[Any], bool], str]:
    def holds(value: Any) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and value >= least

    return holds, f"a whole number of at least {least}"


def _pattern(value: Any) -> bool:
    try:
        return value is None or re.compile(value).groups == 1
    except (re.error, TypeError):
        return False


def _range(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(FINITE.allows, value)) and value[0] < value[1]


def _json(value: Any) -> bool:
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        return False
    return isinstance(value, Mapping)


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(map(_text, value))


RULES: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "timeout": (Range(0.0, 86400.0, low_open=True).allows, "a number of seconds > 0, at most 86400"),
    "retries": _whole(0),
    "concurrency": _whole(1),
    "batch_size": _whole(1),
    "cache_entries": _whole(1),
    "max_tokens": _whole(1),
    "on_nan": (
        lambda value: value in ("stop", "skip") if _text(value) else FINITE.allows(value),
        "stop, skip or a number",
    ),
    "cache": (lambda value: value is None or _text(value) and bool(value), "a folder"),
    "columns": (_texts, "a list of columns of the data"),
    "model": (lambda value: value is None or _text(value) and bool(value), "the name of a model"),
    "suffix": (_text, "a text"),
    "template": (_text, "a text with {prompt} and {completion}"),
    "pattern": (_pattern, "a regular expression with one group, the score"),
    "range": (_range, "a list of two numbers, the lowest score and the highest"),
    "body": (_json, "a mapping that JSON can hold"),
}
APIS: Mapping[str, Callable[[Mapping[str, Any]], Api]] = {
    "resonance": lambda values: OwnApi(values["batch_size"], tuple(values["columns"])),
    "llamafactory": lambda values: TextsApi(values["batch_size"], values["model"], values["suffix"]),
    "openai": lambda values: ChatApi(
        values["model"],
        values["template"],
        values["pattern"],
        values["range"][0],
        values["range"][1],
        {"max_tokens": values["max_tokens"], **values["body"]},
    ),
}
PATHS = {"resonance": OwnApi.path, "llamafactory": TextsApi.path, "openai": ChatApi.path}
