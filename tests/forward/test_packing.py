# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Rows of a batch in one row without padding: where each token goes, what is refused, and what it is worth."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from forward.conftest import gradients, lay_out, worst
from forward.tiny import FAMILIES, PICTURE, collate, for_training, make, pairs, picture
from resonance.forward import attention, masks, segments
from resonance.forward.bundle import Bundle
from resonance.forward.call import Forward, capabilities
from resonance.forward.names import PADDING_FREE, RESPONSE_HEAD, SHARED_PREFIX, SPEEDUPS
from resonance.forward.result import sums

PACKED_ONLY, BOTH = {PADDING_FREE}, {SHARED_PREFIX, PADDING_FREE}


def text_batch():
    """Two prompts of 3 and 2 tokens, responses of 2 and 1, 1 and 3: rows of 5, 3, 4, 5 tokens, padded to 8."""
    rows = [[5, 6, 7, 21, 22], [8, 9, 31], [5, 6, 7, 41], [8, 9, 51, 52, 53]]
    ids, labels = torch.full((4, 8), 2), torch.full((4, 8), -100)
    for i, (row, first) in enumerate(zip(rows, [3, 2, 3, 2], strict=True)):
        ids[i, : len(row)] = torch.tensor(row)
        labels[i, first : len(row)] = ids[i, first : len(row)]
    return {"input_ids": ids, "attention_mask": (ids != 2).long(), "labels": labels}


def test_shared_rows_by_hand():
    rows = lay_out(text_batch(), BOTH).layout
    assert rows.inputs["input_ids"].tolist() == [[5, 6, 7, 21, 22, 41, 8, 9, 31, 51, 52, 53]]
    assert rows.inputs["position_ids"].tolist() == [[0, 1, 2, 3, 4, 3, 0, 1, 2, 2, 3, 4]]
    assert rows.segments.segment.tolist() == [[0, 0, 0, 1, 1, 2, 0, 0, 1, 2, 2, 2]]
    assert rows.segments.pieces.ends == [[0, 3, 5, 6], [6, 8, 9, 12]]
    # the last token of a prompt predicts the first of both its responses
    assert rows.positions.tolist() == [2, 3, 2, 7, 7, 9, 10]
    assert rows.targets.tolist() == [21, 22, 41, 31, 51, 52, 53]
    # in the columns of the padded batch: row * 7 + column - 1
    assert rows.owners.tolist() == [2, 3, 2 * 7 + 2, 7 + 1, 3 * 7 + 1, 3 * 7 + 2, 3 * 7 + 3]
    assert rows.sources is None and rows.shape == (4, 7)


def test_plain_rows_by_hand():
    rows = lay_out(text_batch(), PACKED_ONLY).layout
    assert rows.inputs["input_ids"].tolist() == [[5, 6, 7, 21, 22, 8, 9, 31, 5, 6, 7, 41, 8, 9, 51, 52, 53]]
    assert rows.inputs["position_ids"].tolist() == [[*range(5), *range(3), *range(4), *range(5)]]
    assert rows.segments.pieces.ends == [[0, 3, 5], [5, 7, 8], [8, 11, 12], [12, 14, 17]]
    assert rows.positions.tolist() == [2, 3, 6, 10, 13, 14, 15]
    assert rows.targets.tolist() == [21, 22, 31, 41, 51, 52, 53]
    assert set(rows.inputs) == {"input_ids", "position_ids"}


def test_a_picture_that_nobody_attends_to_stays_behind_its_row():
    batch = text_batch()
    batch["input_ids"][0, 5:7] = PICTURE
    batch["pixel_values"] = torch.ones(1, 3)
    shared = lay_out(batch, BOTH, [PICTURE]).layout
    assert shared.inputs["input_ids"].tolist() == [[5, 6, 7, 21, 22, 41, PICTURE, PICTURE, 8, 9, 31, 51, 52, 53]]
    assert shared.segments.pieces.ends == [[0, 3, 5, 6], [8, 10, 11, 14]]
    plain = lay_out(batch, PACKED_ONLY, [PICTURE]).layout
    assert plain.inputs["input_ids"].tolist()[0][:8] == [5, 6, 7, 21, 22, PICTURE, PICTURE, 8]
    assert plain.segments.pieces.ends == [[0, 3, 5], [7, 9, 10], [10, 13, 14], [14, 16, 19]]
    assert plain.inputs["pixel_values"] is batch["pixel_values"]


def test_positions_of_four_rows_and_padding_on_the_left():
    batch = text_batch()
    batch["position_ids"] = torch.arange(4 * 4 * 8).view(4, 4, 8)
    rows = lay_out(batch, PACKED_ONLY).layout
    assert rows.inputs["position_ids"].shape == (4, 1, 17)
    assert rows.inputs["position_ids"][2, 0, 5:8].tolist() == batch["position_ids"][2, 1, :3].tolist()
    for name in ("input_ids", "attention_mask", "labels"):
        batch[name] = batch[name].roll(2, 1)
    moved = lay_out(batch, PACKED_ONLY).layout
    assert torch.equal(moved.inputs["input_ids"], rows.inputs["input_ids"])
    assert torch.equal(moved.positions, rows.positions) and moved.segments.pieces.ends == rows.segments.pieces.ends
    assert moved.segments.column[0, :5].tolist() == [2, 3, 4, 5, 6]


def other(**changes):
    batch = text_batch()
    for name, change in changes.items():
        batch[name] = change(batch.get(name))
    return batch


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        (other(attention_mask=lambda mask: mask * 2), "rows are packed already"),
        (other(attention_mask=lambda mask: mask[:, None, None]), "rows are packed already"),
        (other(cross_attention_mask=lambda _: torch.ones(4, 8)), "the batch has cross_attention_mask"),
        (other(attention_mask=lambda mask: mask.index_fill(1, torch.tensor([1]), 0)), "stand among others"),
        (other(attention_mask=lambda mask: mask.index_fill(1, torch.tensor([4]), 0)), "a label is on a token"),
        (other(attention_mask=lambda mask: mask.index_fill(1, torch.tensor([0, 1, 2]), 0)), "a row has no token"),
    ],
)
def test_what_is_refused(batch, message):
    found = lay_out(batch, PACKED_ONLY, [PICTURE])
    assert message in found.reasons[PADDING_FREE] and found.layout.segments is None


def test_a_picture_that_nobody_attends_to_in_front_of_its_row():
    batch = text_batch()
    batch["input_ids"][1, 0], batch["attention_mask"][1, 0] = PICTURE, 0
    rows = lay_out(batch, PACKED_ONLY, [PICTURE]).layout
    assert rows.inputs["input_ids"][0, :8].tolist() == [5, 6, 7, 21, 22, 9, 31, PICTURE]
    assert rows.segments.pieces.ends[:3] == [[0, 3, 5], [5, 6, 7], [8, 11, 12]]


@pytest.mark.parametrize("groups", [1, 2])
def test_attention_by_pieces_is_attention_with_a_mask(groups):
    """Against the mask of all pairs of tokens, K = 3, with gaps between and behind the pieces, in two rows."""
    generator = torch.Generator().manual_seed(0)
    heads, size, width = 4, 24, 8
    query = torch.randn(2, heads, size, width, generator=generator, requires_grad=True)
    key, value = (
        torch.randn(2, heads // groups, size, width, generator=generator, requires_grad=True) for _ in range(2)
    )
    pieces = [[0, 4, 6, 7, 10], [12, 17, 19], [24, 30], [31, 33, 40, 41, 44]]
    seen = torch.zeros(2 * size, 2 * size, dtype=torch.bool)
    for begin, prompt, *ends in pieces:
        seen[begin:prompt, begin:prompt] = True
        for start, stop in zip([prompt, *ends], ends, strict=False):
            seen[start:stop, begin:prompt] = seen[start:stop, start:stop] = True
    seen = seen.tril()
    mask = torch.stack((seen[:size, :size], seen[size:, size:]))
    module = SimpleNamespace(num_key_value_groups=groups)
    index = Bundle.of(segments.index(segments.SPLIT, pieces, 2 * size))
    given = {attention.PIECES: segments.Pieces(pieces, 2 * size, index)}
    found, _ = attention.split_attention(module, query, key, value, None, scaling=0.3, **given)
    keys, values = (t.repeat_interleave(groups, 1) for t in (key, value))
    scores = (query @ keys.transpose(2, 3) * 0.3).masked_fill(~mask[:, None], -torch.inf)
    expected = (scores.softmax(-1).nan_to_num() @ values).transpose(1, 2)
    inside = mask.any(-1)
    assert torch.allclose(found[inside], expected[inside], atol=1e-6) and bool(found.isfinite().all())
    weights = torch.randn(found.shape, generator=generator)
    ours, theirs = (
        torch.autograd.grad((result[inside] * weights[inside]).sum(), (query, key, value), retain_graph=True)
        for result in (found, expected)
    )
    assert all(torch.allclose(a, b.nan_to_num(), atol=1e-5) for a, b in zip(ours, theirs, strict=True))


def test_one_pair_is_read_as_without():
    model = for_training(make(FAMILIES["qwen2_vl"]()), "full")
    batch = pairs(model, [[picture(model, 1)]])
    with_it, without = (
        Forward(on).prepare(batch, model, model) for on in (set(SPEEDUPS), set(SPEEDUPS) - {PADDING_FREE})
    )
    assert len(with_it.layout.inputs["input_ids"]) == 1 and with_it.reasons == {}
    assert torch.equal(with_it.layout.inputs["input_ids"], without.layout.inputs["input_ids"])
    found = [Forward.call(model, model, prepared).values for prepared in (with_it, without)]
    assert torch.equal(*found)
    always = Forward(SPEEDUPS, always=True).prepare(batch, model, model)  # what the comparison at the start reads
    assert always.layout.segments.pieces is not None and with_it.layout.segments.pieces is None
    assert (Forward.call(model, model, always).values - found[1]).abs().max() < 1e-5


def test_tokens_that_are_read():
    model = make(FAMILIES["qwen2"]())
    batch = pairs(
        model, [[], [], [], []], chosen=[5, 40, 9, 7], rejected=[6, 3, 30, 8]
    )  # prompts of 3, 5, 7, 9 tokens
    counts = {
        frozenset(on): Forward(on, always=True).prepare(batch, model).layout.inputs["input_ids"].numel()
        for on in ((), (PADDING_FREE,), (SHARED_PREFIX,), (PADDING_FREE, SHARED_PREFIX))
    }
    responses, prompts = 5 + 40 + 9 + 7 + 6 + 3 + 30 + 8, 3 + 5 + 7 + 9
    assert counts[frozenset()] == 8 * 48
    assert counts[frozenset({PADDING_FREE})] == 2 * prompts + responses
    assert counts[frozenset({SHARED_PREFIX})] == 4 * 48
    assert counts[frozenset({PADDING_FREE, SHARED_PREFIX})] == prompts + responses


def test_rows_without_padding_stay_as_they_are():
    model = make(FAMILIES["qwen2"]())
    batch = pairs(model, [[], []], chosen=[5, 3], rejected=[5, 3])  # 3 + 5 and 5 + 3 tokens
    assert Forward(PACKED_ONLY).prepare(batch, model).layout.segments is None
    always = Forward(PACKED_ONLY, always=True).prepare(batch, model).layout
    assert always.segments.pieces.ends == [[0, 3, 8], [8, 13, 16], [16, 19, 24], [24, 29, 32]]


@pytest.mark.parametrize("checkpointing", ["off", "reentrant", "non-reentrant"])
@pytest.mark.parametrize("on", [set(SPEEDUPS), {PADDING_FREE, RESPONSE_HEAD}], ids=["shared", "plain"])
def test_three_continuations(on, checkpointing):
    """As reinforcement learning has them: several answers to one prompt, of very different lengths."""
    model = for_training(make(FAMILIES["qwen3_vl"]()), "full", checkpointing)
    generator = torch.Generator().manual_seed(2)
    one, two = picture(model, 1), picture(model, 2)
    starts = [
        torch.cat([torch.tensor([20, 12]), torch.full((p.tokens,), PICTURE), torch.tensor([13])]) for p in (one, two)
    ]
    lengths = [2, 30, 11, 1, 5, 17]
    answers = [torch.randint(20, 256, (n,), generator=generator) for n in lengths]
    rows = [torch.cat((starts[i % 2], answer)) for i, answer in enumerate(answers)]
    batch = collate(model, rows, [len(starts[i % 2]) for i in range(6)], [one, two] * 3)
    weights = torch.tensor([1.0, -1.0, 0.5, 2.0, -0.5, 1.5])

    def step(names):
        prepared = Forward(names, always=True).prepare(batch, model, model)
        tokens = Forward.call(model, model, prepared)
        (sums(tokens) * weights).sum().backward()
        return prepared, tokens.values.detach(), gradients(model)

    _, expected, right = step(())
    prepared, values, found = step(on)
    ends = prepared.layout.segments.pieces.ends
    assert [len(piece) for piece in ends] == ([5, 5] if SHARED_PREFIX in on else [3] * 6)
    assert (values - expected).abs().max() < 1e-5 and worst(found, right)[0] < 1e-5


def test_packed_rows_need_no_mask(monkeypatch):
    model = for_training(make(FAMILIES["qwen2_vl"]()), "lora")
    batch = pairs(model, [[picture(model, 1)], []])
    monkeypatch.setattr(masks, "attention_masks", None)
    packed = Forward(SPEEDUPS, always=True).prepare(batch, model)
    assert torch.isfinite(Forward.call(model, model, packed).values).all()
    model.config.get_text_config()._attn_implementation = "sdpa"
    with pytest.raises(RuntimeError, match="packed rows, but the attention of PeftModelForCausalLM is not"):
        Forward.call(model, model, packed)


@pytest.mark.parametrize(
    ("family", "implementation", "why"),
    [
        ("gemma3", "sdpa", "sliding windows take a mask"),
        ("qwen2", "eager", "attention eager is not computed by pieces"),
    ],
)
def test_what_takes_a_mask_is_not_packed(family, implementation, why):
    model = make(FAMILIES[family](), attention=implementation)
    assert why in capabilities(model)[PADDING_FREE] and SHARED_PREFIX not in capabilities(model)
    prepared = Forward(SPEEDUPS, always=True).prepare(pairs(model, [[], []]), model, model)
    assert why in prepared.reasons[PADDING_FREE] and prepared.layout.segments.pieces is None


def test_dropout_and_experts():
    config = FAMILIES["qwen2"]()
    config.attention_dropout = 0.1
    assert "dropout is on" in capabilities(make(config))[PADDING_FREE]
    model = make(FAMILIES["qwen2"]())
    model.config.output_router_logits = True
    assert "auxiliary loss of the experts" in capabilities(model)[PADDING_FREE]
    model.config.output_router_logits = False
    model.config.layer_types = ["linear_attention", "full_attention", "full_attention"]
    assert capabilities(model)[PADDING_FREE] == "layers of type linear_attention"
