# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""A folder with a policy -> log-probabilities of pairs, by the tokens, the template and the forward of training."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from llamafactory.hparams import get_infer_args
from llamafactory.model import load_model, load_tokenizer

from ..forward.call import Forward, capabilities
from ..forward.names import SPEEDUPS
from ..forward.result import TokenLogps, sums
from ..forward.selftest import SelfTest
from ..reference.adapters import adapters_off
from ..rows.collate import PreferenceCollator, describe_rows
from ..rows.encode import PairEncoder, PairIds
from ..rows.fields import ROW, SOURCE
from ..rows.templates import own_template
from ..training.weights import complete_weights
from .accuracy import PairLogps
from .trained import Trained

Pair = Mapping[str, Any]
SIDES = ("chosen", "rejected")


def load(
    trained: Trained, *, device: str | None = None, batch_size: int = 16, allow_missing_weights: bool = False
) -> Policy:
    """The model of a folder, its adapter beside it and not merged, so that it can be switched off.

    Args:
        trained: what is known of it.
        device: a name of torch; None for the GPU, or the CPU.
        batch_size: answers that the model reads together.
        allow_missing_weights: for whoever looks for them.

    Raises:
        ValueError: the files lack weights, or do not fit together.
    """
    place = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    model_args, finetuning_args, writer = prepared(trained)
    model_args.device_map = {"": place}
    try:
        with nullcontext() if allow_missing_weights else complete_weights(False):
            # an adapter that does not train would be merged
            model = load_model(writer.tokenizer, model_args, finetuning_args, is_trainable=trained.is_adapter)
    except UserWarning as error:  # PEFT's
        raise ValueError(f"{trained.name} lacks weights of its adapter: {error}") from None
    model.requires_grad_(False)
    return Policy(model.to(place).eval(), writer, trained, batch_size)


def prepared(trained: Trained) -> tuple[Any, Any, Writer]:
    """LlamaFactory's model and finetuning arguments of a model, and what writes its prompts; no weights are read."""
    model_args, data_args, finetuning_args, _ = get_infer_args(trained.arguments())
    modules = load_tokenizer(model_args)
    return model_args, finetuning_args, Writer(own_template(modules["tokenizer"], data_args), **modules)


class Writer:
    """Writes pairs as a trainer does.

    Args:
        template: LlamaFactory's, of the training.
        tokenizer: of the model.
        processor: of its media, or None.
    """

    def __init__(self, template: Any, tokenizer: Any, processor: Any) -> None:
        self.template, self.tokenizer, self.processor = template, tokenizer, processor
        self.encode = PairEncoder(template, tokenizer, processor)

    def aligned(self, pair: Pair) -> dict[str, Any]:
        """A pair as LlamaFactory's converters leave it."""
        system = "".join(message["content"] for message in pair["messages"][:1] if message["role"] == "system")
        prompt = [message for message in pair["messages"] if message["role"] != "system"]
        answers = [{"role": "assistant", "content": pair[side]} for side in SIDES]
        row = {"_prompt": prompt, "_response": answers, "_system": system, "_tools": pair["tools"]}
        return {**row, "_images": list(pair["images"]), "_videos": [], "_audios": []}

    def ids(self, pair: Pair) -> PairIds:
        """Its tokens; ValueError naming the row if it cannot be written."""
        try:
            return self.encode(self.aligned(pair))
        except Exception as error:  # whatever a processor raises
            where = describe_rows([dict(pair)])
            raise ValueError(f"{where}: cannot be tokenized ({type(error).__name__}: {error})") from error

    def row(self, pair: Pair) -> dict[str, Any]:
        """A pair as the trainer's collator takes it."""
        names = (f"{side}_{part}" for side in SIDES for part in ("input_ids", "labels"))
        found: dict[str, Any] = dict(zip(names, self.ids(pair).model_inputs(), strict=True))
        found |= {f"{side}_attention_mask": [1] * len(found[f"{side}_input_ids"]) for side in SIDES}
        origin = {name: pair[name] for name in (SOURCE, ROW) if name in pair}
        return {**found, "images": list(pair["images"]), "videos": [], "audios": [], **origin}


class Policy:
    """Reads pairs.

    Args:
        model: for evaluation; with its adapters, if it has some.
        writer: of its training.
        trained: what is known of it.
        batch_size: answers that the model reads together.
    """

    def __init__(self, model: Any, writer: Writer, trained: Trained, batch_size: int) -> None:
        self.model, self.writer, self.trained, self.batch_size = model, writer, trained, batch_size
        self.collate = PreferenceCollator(
            template=writer.template,
            model=model,
            pad_to_multiple_of=8,
            tokenizer=writer.tokenizer,
            processor=writer.processor,
        )
        self._forward: Forward | None = None

    def __call__(
        self, pairs: Sequence[Pair], *, reference: bool = False, progress: Callable[[int], Any] = lambda _: None
    ) -> list[PairLogps]:
        """What the model makes of each pair, whole, however long it is.

        Args:
            pairs: of `checks.data.pairs.read_pairs`.
            reference: read them with the adapter off, too.
            progress: called with the number of pairs that were read.

        Raises:
            ValueError: a pair that the template cannot write, an image that cannot be read, or numbers that are none.
        """
        found: list[PairLogps] = []
        step = max(self.batch_size // 2, 1)
        with torch.no_grad():
            for start in range(0, len(pairs), step):
                found += self._read(pairs[start : start + step], reference)
                progress(min(step, len(pairs) - start))
        if bad := [place for place, of in enumerate(found) if not all(map(math.isfinite, of.numbers()))]:
            where = describe_rows([dict(pairs[bad[0]])])
            raise ValueError(
                f"{self.trained.name} gives {len(bad)} of {len(found)} pairs a log-probability that is no finite "
                f"number, the first in {where}: its weights are broken; take another checkpoint"
            )
        return found

    def _read(self, pairs: Sequence[Pair], reference: bool) -> Iterator[PairLogps]:
        rows = [self.writer.row(pair) for pair in pairs]
        batch = {name: self._placed(value) for name, value in self.collate(rows).items()}
        if self._forward is None:
            self._forward = Forward(self._agreeing(batch))
        prepared = self._forward.prepare(dict(batch), self.model, self.model if reference else None)

        def numbers(off: bool) -> tuple[list[float], list[int]]:
            with adapters_off(self.model) if off else nullcontext():
                tokens = Forward.call(self.model, self.model, prepared)
            return sums(tokens).double().tolist(), tokens.lengths.tolist()

        (logps, lengths), count = numbers(off=False), len(rows)
        theirs = numbers(off=True)[0] if reference else None
        limit = self.trained.settings.data.get("cutoff_len") or math.inf
        for place, row in enumerate(rows):
            whole = max(len(row[f"{side}_input_ids"]) for side in SIDES)
            beside = None if theirs is None else (theirs[place], theirs[place + count])
            answers = logps[place], logps[place + count], lengths[place], lengths[place + count]
            yield PairLogps(*answers, reference=beside, overlong=whole > limit)

    def _placed(self, value: Any) -> Any:
        return value.to(self.model.device) if hasattr(value, "to") else value

    def _agreeing(self, batch: Mapping[str, Any]) -> Collection[str]:
        """The speed-ups that agree with the plain path on a batch."""
        candidates = frozenset(SPEEDUPS) - set(capabilities(self.model))
        forward = Forward(candidates, always=True)

        def run(on: Collection[str]) -> tuple[TokenLogps, None]:
            return Forward.call(self.model, self.model, forward.prepare(dict(batch), self.model, on=on)), None

        half = any(p.dtype in (torch.bfloat16, torch.float16) for p in self.model.parameters())
        return SelfTest(run, [], half, self.model.device).choose(candidates).on
