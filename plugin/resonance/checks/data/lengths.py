# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""How many tokens a row has for a given model. Imports LlamaFactory when it is asked to count."""

from __future__ import annotations

import os
from collections.abc import Iterator
from difflib import get_close_matches
from typing import Any

from ..quiet import quiet
from .kinds import Found
from .tally import Tally


class TokenCounter:
    """Count the tokens of aligned rows as training will, image tokens from sizes where that gives the same numbers.

    Args:
        model: path of the model: tokenizer and processor are loaded, no weights.
        template: LlamaFactory's name of its template.
        cutoff_len: the most tokens of prompt and answer.
        settings: other keys of a recipe, such as ``image_max_pixels``.

    Raises:
        ValueError: if the model or template cannot be loaded; says why.
    """

    def __init__(self, model: str, template: str, cutoff_len: int, settings: dict[str, Any]) -> None:
        self.cutoff_len = cutoff_len
        self.total = Tally(f"Tokens of prompt + longer answer (`cutoff_len` {cutoff_len})")
        self.image = Tally("Tokens of images")
        if not os.path.isdir(model) and _is_path(model):
            raise ValueError(f"--model {model}: there is no such folder.")
        expands(template)
        try:
            self._load({"model_name_or_path": model, "template": template, "cutoff_len": cutoff_len, **settings})
        except (ValueError, OSError, KeyError, ImportError) as error:
            cause = f" ({error.__cause__})" if error.__cause__ else ""
            raise ValueError(f"--model {model} --template {template} cannot be loaded: {error}{cause}") from error

    def _load(self, settings: dict[str, Any]) -> None:
        with quiet():
            from llamafactory.hparams import get_infer_args
            from llamafactory.model import load_tokenizer

            from ...rows.encode import PairEncoder
            from ...rows.templates import own_template

            model_args, data_args, _, _ = get_infer_args(settings)
            loaded = load_tokenizer(model_args)
            template = own_template(loaded["tokenizer"], data_args)
            self.encoder = PairEncoder(template, loaded["tokenizer"], loaded["processor"])

    def __call__(self, aligned: dict[str, Any]) -> Iterator[Found]:
        """Yield a finding for a row that is too long or cannot be tokenized; its lengths go into the histograms."""
        from ...rows.encode import MediaTokenError
        from ...rows.overlong.policy import measure

        try:
            lengths = measure(aligned, self.encoder)
        except MediaTokenError as error:
            yield "media token", str(error)
            return
        except Exception as error:  # whatever the model's own processor raises is told with the row
            yield "not measured", f"cannot be tokenized ({type(error).__name__}: {error})"
            return
        self.total.add(lengths.total)
        if lengths.image_tokens:
            self.image.add(lengths.image_tokens)
        if lengths.total > self.cutoff_len:
            answer = f", answer {lengths.response}" if lengths.response else ""
            parts = f"prompt {lengths.prompt} with {lengths.image_tokens} of images{answer}"
            yield "too long", f"{lengths.total} tokens ({parts}); cutoff_len is {self.cutoff_len}"


def expands(template: str) -> bool:
    """Whether a template knows media; ValueError if there is no such template."""
    with quiet():
        from llamafactory.data.template import TEMPLATES

        from ...rows.validate.rules import tokens_of

    if template not in TEMPLATES:
        near = get_close_matches(template, TEMPLATES, 3, cutoff=0.0)
        raise ValueError(
            f"--template {template} cannot be loaded: there is no such template; nearest: {', '.join(near)}"
        )
    return bool(tokens_of(template))


def _is_path(model: str) -> bool:
    """Whether a name that is no folder was meant as one, rather than as OWNER/NAME on a hub."""
    parts = model.split("/")
    return (
        len(parts) > 2 or model.startswith((".", "~")) or "\\" in model or (len(parts) > 1 and os.path.isdir(parts[0]))
    )
