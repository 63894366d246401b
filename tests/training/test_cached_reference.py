# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""What is stored of a reference is what the live one computes: of an adapter that has been trained, with dropout."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from accelerate import Accelerator
from datasets import Dataset

from forward.tiny import FAMILIES, collate, for_training, make
from resonance.forward.call import Forward
from resonance.forward.names import SPEEDUPS
from resonance.forward.result import sums
from resonance.training.context import RunArguments, RunIsOver, current_run, running
from resonance.training.engine import Engine
from resonance.training.reference import PAIR_COLUMNS, REFERENCE_FIELDS, CachedReference
from resonance.training.speedups import Batches

torch.set_num_threads(1)
LENGTHS = ((5, 3), (2, 6), (4, 4), (7, 1), (3, 3))


def model_of(dropout=0.0):
    config = FAMILIES["qwen2"]()
    config.attention_dropout = dropout
    return make(config)


def rows():
    """Pairs as they are tokenized."""
    generator = torch.Generator().manual_seed(3)
    made = []
    for number, lengths in enumerate(LENGTHS):
        prompt = torch.randint(20, 200, (4 + number,), generator=generator).tolist()
        row = {"_source": "pairs.json", "_row": number}
        for side, length in zip(("chosen", "rejected"), lengths, strict=True):
            answer = torch.randint(20, 200, (length,), generator=generator).tolist()
            row |= {f"{side}_input_ids": prompt + answer, f"{side}_labels": [-100] * len(prompt) + answer}
        made.append(row)
    return made


def batch_of(model, features):
    """As LlamaFactory's collator makes it."""
    sides = [(row, side) for side in ("chosen", "rejected") for row in features]
    ids = [torch.tensor(row[f"{side}_input_ids"]) for row, side in sides]
    firsts = [row[f"{side}_labels"].count(-100) for row, side in sides]
    return collate(model, ids, firsts, [])


def arguments(folder, tmp_path, **finetuning):
    """Of a LoRA run on a model that is saved in `tmp_path`."""
    model = SimpleNamespace(model_name_or_path=str(tmp_path / "model"), adapter_name_or_path=None)
    vars(model).update(quantization_bit=None, use_unsloth=False, compute_dtype=torch.float32)
    loader = dict(dataloader_num_workers=0, dataloader_pin_memory=False, disable_tqdm=True)
    training = SimpleNamespace(output_dir=str(tmp_path), per_device_train_batch_size=2, bf16=False, fp16=False)
    vars(training).update(process_index=0, world_size=1, should_save=True, should_log=True, **loader)
    recipe = dict(ref_log_probs_dir=str(folder), ref_model=None, finetuning_type="lora", create_new_adapter=False)
    recipe = SimpleNamespace(**recipe | {"precompute_only": False} | finetuning)
    return RunArguments(model, SimpleNamespace(template="qwen"), training, recipe)


@pytest.fixture
def fill(tmp_path):
    """`fill(policy)`: the store after a pass of the policy with its adapters off, by the real code."""
    model_of().save_pretrained(tmp_path / "model")

    def run(policy, asked=SPEEDUPS):
        cached = CachedReference(arguments(tmp_path / "cache", tmp_path), policy, None, Dataset.from_list(rows()))
        assert cached.calls_policy and cached.model_to_prepare(policy) is None
        batches = Batches(lambda features: batch_of(policy, features), lambda batch: batch)
        cached.fill(Engine(Accelerator(cpu=True), policy, None, asked, batches), policy)
        assert not cached.missing
        return cached

    return run


def live(model):
    """What the model says, without anything of ours on: (N, 2)."""
    batch = batch_of(model, rows())
    with torch.no_grad():
        return sums(Forward.call(model, model, Forward(()).prepare(batch, model))).view(2, -1).T


def stored(cached, policy):
    """What a batch carries of the store."""
    collator = cached.collator(lambda features: batch_of(policy, features), means=False)
    found = collator(rows())
    return torch.stack([found[name] for name in REFERENCE_FIELDS], 1)


@pytest.mark.parametrize("asked", [SPEEDUPS, ()], ids=["fast", "plain"])
def test_the_trained_adapter_is_off(asked, fill):
    """A fresh adapter does nothing: only one whose B is not zero tells on from off."""
    policy = for_training(model_of(), "lora")
    on = live(policy)
    found = stored(fill(policy, asked), policy)
    torch.testing.assert_close(found, live(model_of()), rtol=1e-5, atol=1e-5)
    assert float((found - on).abs().mean()) > 0.1
    torch.testing.assert_close(live(policy), on, rtol=0, atol=0)  # and on again


def test_dropout_is_off_and_the_random_numbers_go_on_as_they_were(fill):
    policy = for_training(model_of(dropout=0.5), "lora")
    torch.manual_seed(5)
    state = torch.get_rng_state()
    cached = fill(policy)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(module.training for module in policy.modules())
    torch.testing.assert_close(stored(cached, policy), live(model_of().eval()), rtol=1e-5, atol=1e-5)


def test_means_are_a_token(fill):
    policy = for_training(model_of(), "lora")
    cached = fill(policy)
    found = cached.collator(lambda features: {}, means=True)(rows())
    lengths = torch.tensor(LENGTHS, dtype=torch.float32)
    means = torch.stack([found[name] for name in REFERENCE_FIELDS], 1)
    torch.testing.assert_close(means * lengths, live(model_of()), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("column", PAIR_COLUMNS)
def test_a_row_that_has_changed_since_is_not_found(column, fill):
    policy = for_training(model_of(), "lora")
    collator = fill(policy).collator(lambda features: {}, means=False)
    changed = rows()
    changed[2][column] = [*changed[2][column][:-1], 77]
    with pytest.raises(ValueError, match=r"no reference log-probability of pairs\.json row 2:"):
        collator(changed)


# -- the run ----------------------------------------------------------------------------------------------------------


def test_the_arguments_of_a_run_hold_while_it_is_in_progress():
    args, inner = RunArguments(1, 2, 3, 4), RunArguments(5, 6, 7, 8)
    with running(args):
        assert current_run() is args
        with running(inner):
            assert current_run() is inner
            raise RunIsOver
        assert current_run() is args
    with pytest.raises(KeyError), running(args):
        raise KeyError
    with pytest.raises(RuntimeError, match="no run in progress"):
        current_run()
