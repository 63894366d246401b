# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Readers of the output head against plain torch on all logits: values and gradients, alone, together, in pieces."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import transformers as tf

from forward.conftest import gradients, worst
from forward.tiny import _TEXT, FAMILIES, VOCABULARY, for_training, inner, make, pairs, picture
from resonance.forward import columns, head
from resonance.forward.call import Forward
from resonance.forward.names import RESPONSE_HEAD, SPEEDUPS
from resonance.forward.readers import Asked, Collision, Entropy, Logp, MeanLogit, Reader, TopK, Value

ROOT = Path(__file__).parents[2]
EACH: dict[str, Reader] = {
    "logp": Logp(0.7),
    "entropy": Entropy(0.7),
    "mean_logit": MeanLogit(),
    "log_collision": Collision(0.7),
    "topk_logps": TopK(5, 0.7),
    "value": Value("value_head"),
}
LEARNED = ("logp", "entropy", "value")


def expected(logits: torch.Tensor, targets: torch.Tensor, temperature: float, k: int) -> dict[str, torch.Tensor]:
    """By the definitions, in float64."""
    logits = logits.double()
    p = (logits / temperature).softmax(-1)
    top = p.log().topk(k)
    return {
        "logp": p[torch.arange(len(p)), targets].log(),
        "entropy": -torch.special.xlogy(p, p).sum(-1),
        "mean_logit": logits.mean(-1),
        "log_collision": (p * p).sum(-1).log(),
        "topk_logps": top.values,
        "topk_ids": top.indices,
    }


def draw(dtype: torch.dtype, rows: int = 11, vocabulary: int = 50) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = (5 * torch.randn(rows, vocabulary, generator=generator, dtype=torch.float64)).to(dtype)
    return logits.requires_grad_(), torch.randint(vocabulary, (rows,), generator=generator)


def ask(*given: Reader, vocabulary: int = 50) -> Asked:
    return Asked.of(given, vocabulary)


@pytest.mark.parametrize("rows_at_once", [1, 3, 11, 100])
@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
@pytest.mark.parametrize(("dtype", "near"), [(torch.float64, 1e-12), (torch.float32, 3e-6)])
def test_values_and_gradients(dtype, near, temperature, rows_at_once, monkeypatch):
    monkeypatch.setattr(columns, "_CHUNK_BYTES", rows_at_once * 50 * 4)
    logits, targets = draw(dtype)
    found = columns.read(
        logits,
        targets,
        ask(Logp(temperature), Entropy(temperature), MeanLogit(), Collision(temperature), TopK(4, temperature)),
    )
    right = expected(logits, targets, temperature, 4)
    for name, column in found._asdict().items():
        torch.testing.assert_close(column.to(right[name].dtype), right[name], rtol=near, atol=near)
        assert column.requires_grad == (name in LEARNED)
    weights = torch.linspace(-1, 1, len(targets), dtype=torch.float64)
    for mixed in ((1.0, 0.0), (0.0, 1.0), (0.7, -0.3)):
        losses = (
            sum(part * (x[name] * weights.to(x[name].dtype)).sum() for part, name in zip(mixed, LEARNED, strict=False))
            for x in (found._asdict(), right)
        )
        ours, theirs = (torch.autograd.grad(loss, logits, retain_graph=True)[0] for loss in losses)
        torch.testing.assert_close(ours, theirs, rtol=near, atol=near)


@pytest.mark.parametrize("name", ["logp", "entropy"])
def test_one_loss_of_two_columns(name):
    """A column that no loss uses has no gradient to hand on."""
    logits, targets = draw(torch.float64)
    both = getattr(columns.read(logits, targets, ask(Logp(), Entropy())), name)
    alone = getattr(columns.read(logits, targets, ask(EACH_AT_ONE[name])), name)
    right = expected(logits, targets, 1.0, 1)[name]
    gradients = [torch.autograd.grad(column.sum(), logits)[0] for column in (both, alone, right)]
    torch.testing.assert_close(gradients[0], gradients[2], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(gradients[1], gradients[2], rtol=1e-12, atol=1e-12)


EACH_AT_ONE: dict[str, Reader] = {"logp": Logp(), "entropy": Entropy()}


@pytest.mark.parametrize("read", [columns.read, columns.read_plainly])
def test_tokens_that_cannot_be_drawn(read):
    """Logits of -inf, as of banned tokens: they add nothing to the entropy, and nothing to any gradient."""
    logits, targets = draw(torch.float32)
    banned = logits.detach().clone().index_fill_(1, torch.tensor([3, 7]), -math.inf).requires_grad_()
    targets = torch.where((targets == 3) | (targets == 7), 0, targets)
    found = read(banned, targets, ask(Logp(), Entropy(), Collision(), TopK(48)))
    kept = [column for column in range(50) if column not in (3, 7)]
    right = expected(logits.detach()[:, kept], torch.tensor([kept.index(t) for t in targets.tolist()]), 1.0, 48)
    for name in ("logp", "entropy", "log_collision", "topk_logps"):
        torch.testing.assert_close(getattr(found, name).double(), right[name], rtol=3e-6, atol=3e-6)
    (found.logp.sum() + found.entropy.sum()).backward()
    assert torch.isfinite(banned.grad).all() and not banned.grad[:, [3, 7]].any()


def test_no_rows():
    logits = torch.zeros(0, 50, requires_grad=True)
    found = columns.read(
        logits, torch.zeros(0, dtype=torch.long), ask(Logp(), Entropy(), MeanLogit(), Collision(), TopK(2))
    )
    assert [tuple(column.shape) for column in found] == [(0,), (0,), (0,), (0,), (0, 2), (0, 2)]
    found.logp.sum().backward()
    assert logits.grad.shape == (0, 50)


@pytest.mark.parametrize("temperature", [0.5, 1.0])
def test_bfloat16_is_as_close_as_plain_torch_is(temperature):
    logits, targets = draw(torch.bfloat16, rows=200, vocabulary=500)
    right = expected(logits, targets, temperature, 1)
    asked = ask(Logp(temperature), Entropy(temperature), vocabulary=500)
    (truth,) = torch.autograd.grad(right["logp"].sum() + right["entropy"].sum(), logits)
    errors = {}
    for way in (columns.read, columns.read_plainly):
        found = way(logits, targets, asked)
        (gradient,) = torch.autograd.grad(found.logp.sum() + found.entropy.sum(), logits)
        apart = [getattr(found, name).double() - right[name] for name in ("logp", "entropy")]
        errors[way] = [float(error.detach().norm()) for error in (*apart, gradient.double() - truth.double())]
    for ours, plain in zip(errors[columns.read], errors[columns.read_plainly], strict=True):
        assert ours <= 1.2 * plain


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((TopK(51),), r"TopK\(k=51\): the vocabulary has 50 tokens; give k from 1 to 50"),
        ((Logp(0.5), Entropy(1.0)), r"one call has one temperature, found \[0.5, 1.0\]"),
        ((Logp(), TopK(2, 0.5)), "one call has one temperature"),
        ((Logp(), Logp()), "each kind at most once"),
        ((), "give at least one"),
    ],
)
def test_readers_that_do_not_go_together(given, message):
    with pytest.raises(ValueError, match=message):
        ask(*given)


@pytest.mark.parametrize("temperature", [0, -1.0, math.nan, math.inf])
@pytest.mark.parametrize("kind", [Logp, Entropy, lambda t: TopK(3, t)])
def test_temperatures_out_of_range(kind, temperature):
    with pytest.raises(ValueError, match="must be a finite number > 0"):
        kind(temperature)


def test_a_k_below_one():
    with pytest.raises(ValueError, match=r"TopK\(k=0\) is not allowed"):
        TopK(0)


# -- through the model ------------------------------------------------------------------------------------------------


def with_value_head(model):
    core = inner(model)
    torch.manual_seed(3)
    core.value_head = torch.nn.Linear(core.config.get_text_config().hidden_size, 1)
    return model


def full_logits(model, batch, temperature=0.7, k=5):
    """The columns, from hidden states and logits of every token, one call in plain torch."""
    hidden = []
    handle = inner(model).get_output_embeddings().register_forward_pre_hook(lambda _, given: hidden.append(given[0]))
    logits = model(**{n: v for n, v in batch.items() if n != "labels"}, use_cache=False).logits[:, :-1]
    handle.remove()
    labels = batch["labels"][:, 1:]
    mask = labels != -100
    found = expected(logits[mask], labels[mask], temperature, k)
    found["value"] = inner(model).value_head(hidden[0][:, :-1][mask]).squeeze(-1).double()
    return found, mask


@pytest.mark.parametrize("on", [(), {RESPONSE_HEAD}, SPEEDUPS], ids=["plain", "head", "all"])
@pytest.mark.parametrize("family", FAMILIES)
def test_every_family(family, on):
    model = for_training(with_value_head(make(FAMILIES[family]())), "full")
    batch = pairs(model, [[picture(model, 1)] if family != "qwen2" else [], []])
    right, mask = full_logits(model, batch)
    for name, reader in EACH.items():
        tokens = Forward.call(model, model, Forward(on).prepare(batch, model, model), readers=(reader,))
        assert torch.equal(tokens.mask, mask)
        found = tokens.columns[name]
        assert not found[~mask].any() and found.shape[:2] == mask.shape
        torch.testing.assert_close(found[mask].double(), right[name].detach(), rtol=1e-5, atol=1e-5)
        assert found.requires_grad == (name in LEARNED)
        if name in LEARNED:
            weights = torch.linspace(-1, 1, int(mask.sum()))
            (found[mask] * weights).sum().backward()
            ours = gradients(model)
            (right[name] * weights).sum().backward(retain_graph=True)
            assert worst(ours, gradients(model))[0] < 1e-5
    assert set(tokens.columns) == {"value"}


@pytest.mark.parametrize("on", [(), SPEEDUPS], ids=["plain", "all"])
@pytest.mark.parametrize("budget", [1 << 30, 10 * VOCABULARY * 4, 1], ids=["whole", "ten rows", "one row"])
def test_all_at_once_and_in_pieces(budget, on, monkeypatch):
    monkeypatch.setattr(head.reading.__wrapped__, "__defaults__", (budget,))
    model = for_training(with_value_head(make(FAMILIES["qwen2_vl"]())), "lora", "reentrant")
    batch = pairs(model, [[picture(model, 1)], [], [picture(model, 2)]])
    right, mask = full_logits(model, batch)
    tokens = Forward.call(model, model, Forward(on).prepare(batch, model, model), readers=tuple(EACH.values()))
    for name, values in right.items():
        torch.testing.assert_close(tokens.columns[name][mask].to(values.dtype), values.detach(), rtol=1e-5, atol=1e-5)
    sum((2 - i) * tokens.columns[name].sum() for i, name in enumerate(LEARNED)).backward()
    ours = gradients(model)
    sum((2 - i) * right[name].sum() for i, name in enumerate(LEARNED)).backward()
    assert worst(ours, gradients(model))[0] < 1e-5


@pytest.mark.parametrize(
    "config",
    [
        tf.Gemma2Config(**_TEXT, head_dim=8, query_pre_attn_scalar=8, sliding_window=9, final_logit_softcapping=3.0),
        tf.CohereConfig(**_TEXT, logit_scale=0.25),
    ],
    ids=lambda config: config.model_type,
)
def test_logits_changed_after_the_head(config):
    eager = "eager" if config.model_type == "gemma2" else "sdpa"
    model = for_training(with_value_head(make(config, attention=eager)), "full")
    batch = pairs(model, [[], []])
    right, mask = full_logits(model, batch)
    tokens = Forward.call(model, model, Forward(SPEEDUPS).prepare(batch, model, model), tuple(EACH.values()))
    for name, values in right.items():
        torch.testing.assert_close(tokens.columns[name][mask].to(values.dtype), values.detach(), rtol=1e-5, atol=1e-5)
    sum((2 - i) * tokens.columns[name].sum() for i, name in enumerate(LEARNED)).backward()
    ours = gradients(model)
    sum((2 - i) * right[name].sum() for i, name in enumerate(LEARNED)).backward()
    assert worst(ours, gradients(model))[0] < 1e-5


def test_a_model_in_an_adapter_is_read_like_the_adapter():
    """PEFT calls its `forward`, not the model: hooks of it would be passed by."""
    model = for_training(make(FAMILIES["qwen2"]()), "lora")
    found = []
    for read_of in (model, inner(model)):
        prepared = Forward(SPEEDUPS).prepare(pairs(model, [[], []]), read_of, read_of)
        found.append(Forward.call(model, read_of, prepared, [Logp(), Entropy()]).columns)
    assert torch.equal(found[0]["logp"], found[1]["logp"]) and torch.equal(found[0]["entropy"], found[1]["entropy"])


def test_what_is_not_asked_for_is_not_computed(monkeypatch):
    """Without a `Value` its head does not run; with nothing else, the output head does not."""
    model = with_value_head(make(FAMILIES["qwen2"]()))
    prepared = Forward(SPEEDUPS).prepare(pairs(model, [[], []]), model, model)
    monkeypatch.setattr(model.value_head, "forward", lambda _: pytest.fail("the value head ran"))
    assert set(Forward.call(model, model, prepared).columns) == {"logp", "mean_logit"}
    monkeypatch.undo()
    monkeypatch.setattr(model.lm_head, "forward", lambda _: pytest.fail("the output head ran"))
    tokens = Forward.call(model, model, prepared, [Value("value_head")])
    assert set(tokens.columns) == {"value"} and tokens.columns["value"].requires_grad
    with pytest.raises(KeyError):
        _ = tokens.values


def test_a_value_head_that_is_not_there_or_has_another_shape():
    model = make(FAMILIES["qwen2"]())
    prepared = Forward(SPEEDUPS).prepare(pairs(model, [[], []]), model, model)
    with pytest.raises(ValueError, match=r"Value\('critic.head'\): Qwen2ForCausalLM has no module of that name"):
        Forward.call(model, model, prepared, [Value("critic.head")])
    model.value_head = torch.nn.Linear(32, 2)
    with pytest.raises(ValueError, match=r"The value head makes \(\d+, 2\) of \(\d+, 32\)"):
        Forward.call(model, model, prepared, [Value("value_head")])


def test_a_value_head_keeps_its_precision_under_autocast():
    model = with_value_head(make(FAMILIES["qwen2"]()))
    prepared = Forward(SPEEDUPS).prepare(pairs(model, [[], []]), model, model)
    seen = []
    model.value_head.register_forward_hook(lambda *given: seen.append((given[1][0].dtype, given[2].dtype)))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        Forward.call(model, model, prepared, [Value("value_head")])
    assert seen == [(torch.float32, torch.float32)]


def test_callers_never_see_log_probabilities_as_logits():
    """Whoever hooks the model from outside finds no `logits` in what it returns while it is read."""
    model = make(FAMILIES["qwen2"]())
    prepared = Forward(SPEEDUPS).prepare(pairs(model, [[], []]), model, model)
    seen = []
    handle = model.register_forward_hook(lambda *given: seen.append(given[2]))
    Forward.call(model, model, prepared)
    assert not hasattr(seen[0], "logits") and set(seen[0]) == {"logp", "mean_logit"}
    model(input_ids=prepared.layout.inputs["input_ids"])
    assert seen[1].logits.shape[-1] == VOCABULARY
    handle.remove()


@pytest.mark.slow
def test_two_ranks_learn_from_every_column(tmp_path):
    """DDP and FSDP average gradients of the model, its head and a value head as one process with both batches has."""
    script = Path(__file__).with_name("reader_ranks.py")
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(script.parents[1]), str(ROOT / "plugin")])}
    commands = [[sys.executable, str(script), rank, str(tmp_path / "meeting_point")] for rank in "01"]
    ranks = [subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) for command in commands]
    output = [rank.communicate(timeout=600)[0] for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0, 0]
    differences = json.loads(output[0].splitlines()[-1])
    assert list(differences) == ["ddp", "ddp, plain", "ddp that looks for unused parameters", "fsdp"]
    for parts in differences.values():
        assert set(parts) == {"model", "lm_head", "value_head"} and max(parts.values()) < 1e-5
