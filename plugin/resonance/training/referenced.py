# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""What trainers against a reference have in common: it is a model, the policy with its adapters off, or on disk."""

from __future__ import annotations

from typing import Any

from transformers import Trainer

from ..arguments.features import feature_cache_bytes
from ..arguments.speedups import asked_speedups
from ..forward.call import Prepared
from ..forward.result import TokenLogps
from ..rows.changed import CHANGED
from ..rows.fields import CARRIED
from .engine import Engine
from .features import FeatureSummary, feature_cache
from .finite import ROWS
from .reference import REFERENCE_FIELDS, BeforeTraining, CachedReference
from .speedups import Batches

Referenced = TokenLogps | tuple[Any, ...] | None


class ReferencedTrainer(Trainer):
    """A Trainer of rows of two answers, with a policy, a reference and an engine that calls both."""

    finetuning_args: Any
    ref_model: Any
    data_collator: Any
    engine: Engine

    def make_engine(
        self, reference: Any, cached: CachedReference | None, datasets: tuple[Any, Any], sides: int = 2
    ) -> Engine:
        """The engine of a run.

        Args:
            reference: the model that it calls as the reference; None for none.
            cached: the reference on disk, if it is there.
            datasets: for training and for evaluation, each a set, a dict of sets, or None.
            sides: rows of a batch that a row of the data becomes.
        """
        recipe = self.finetuning_args
        carried = (*(column.name for column in CARRIED), *REFERENCE_FIELDS, ROWS, CHANGED)
        batches = Batches(self.data_collator, self._prepare_inputs, self.train_dataset, carried, sides)
        engine = Engine(self.accelerator, self.model, reference, asked_speedups(recipe.pref_speedups), batches)
        budget = feature_cache_bytes(recipe.image_feature_cache)
        engine.feature_cache = feature_cache(engine, budget, *datasets, self.args, cached)
        if engine.feature_cache is not None:
            self.add_callback(FeatureSummary(engine.feature_cache))
        return engine

    def read_reference_from(self, cached: CachedReference, means: bool) -> None:
        """Compute what is missing on disk, now or when training begins, and let every batch carry its values.

        Args:
            cached: the reference on disk.
            means: whether batches carry means a token instead of sums.
        """
        if self.ref_model is not None:
            cached.fill(self.engine, self.ref_model)
            self.ref_model = None
            self.accelerator.free_memory()
        elif cached.missing:
            self.add_callback(BeforeTraining(lambda: cached.fill(self.engine, self.model_wrapped)))
        if cached.is_all:
            cached.end_run()
        self.data_collator = cached.collator(self.data_collator, means)

    def reference_of(self, model: Any, prepared: Prepared, batch: dict[str, Any]) -> Referenced:
        """Of both answers: one number each from disk if the batch carries them, else those of their tokens.

        None without a reference.
        """
        if REFERENCE_FIELDS[0] in batch:
            return tuple(batch[name] for name in REFERENCE_FIELDS)
        return self.engine.reference_logps(model, prepared)
