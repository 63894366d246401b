# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""What a layer costs one way or the other, at the sizes of Qwen2-VL-2B, and which way is taken."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest

from resonance.forward import cost, segments
from resonance.forward.choose import choose
from resonance.forward.names import PADDING_FREE, SHARED_PREFIX, SPEEDUPS, VISION_ONCE
from resonance.forward.prompts import Row
from resonance.forward.request import Request

TEXT = SimpleNamespace(hidden_size=1536, intermediate_size=8960, num_attention_heads=12, num_key_value_heads=2)
CONFIG = SimpleNamespace(get_text_config=lambda: TEXT)
LAYER = cost.Layer.of(CONFIG)
REQUEST = Request(
    on=frozenset(SPEEDUPS),
    always=False,
    tokens=(),
    attention=segments.SPLIT,
    whole=None,
    model_type="qwen2_vl",
    layer=LAYER,
    device="cpu",
)


def test_a_layer_of_qwen2_vl_2b():
    assert cost.Layer(2.0 * 46_792_704, 12, 2, 128) == LAYER  # its linear weights, biases left out


def test_experts_count_as_often_as_a_token_meets_them():
    text = SimpleNamespace(**vars(TEXT), num_experts_per_tok=4, moe_intermediate_size=500, head_dim=64)
    found = cost.Layer.of(SimpleNamespace(get_text_config=lambda: text))
    assert found.products == 2.0 * 1536 * (2 * 64 * 14 + 3 * 4 * 500)


def test_seconds_by_hand():
    """Ten operations a second of each kind, a byte a second, a second a launch; two heads of one number each."""
    device = cost.Device(products=10.0, attention=10.0, bytes=1.0, launch=1.0, block=1)
    layer = cost.Layer(products=5.0, heads=1, key_heads=1, width=1)
    groups = [(3, [2, 1])]

    def seconds(way, rows=(5, 5)):
        return cost.seconds(way, layer, device, rows, 5, groups)

    base = 30.0  # launches of any layer
    assert seconds(cost.ROWS) == base + 10 * 5 / 10 + 4 * 2 * (5 * 6 / 2) / 10  # two causal triangles
    assert seconds(cost.ROWS, (5, 4)) == base + 10 * 5 / 10 + 4 * 2 * 25 / 10  # a mask for the padding
    assert seconds(cost.SHARED) == base + 6 * 5 / 10 + 4 * 36 / 10
    # a triangle of five and a row of four keys; a call, five launches for the second and one to put back; copies
    assert seconds(cost.SPLIT) == base + 6 + 6 * 5 / 10 + 4 * (15 + 4) / 10 + 4 * 4 * (5 + 3 + 2)
    varlen = replace(device, varlen=True)
    expected = base + 2 + 6 * 5 / 10 + 4 * (15 + 1 * 3.5) / 10
    assert cost.seconds(cost.PACKED, layer, varlen, (5, 5), 5, groups) == expected
    queued = replace(device, queued=True)
    assert cost.seconds(cost.SHARED, layer, queued, (5, 5), 5, groups) == max(base, 6 * 5 / 10 + 4 * 36 / 10)


def taken(groups, request=REQUEST, pictures=False):
    """The way for groups of (prompt, responses)."""
    rows, numbers = [], []
    for prompt, answers in groups:
        numbers.append([[len(rows) + i] for i in range(len(answers))])
        rows += [Row(0, prompt, prompt + answer) for answer in answers]
    length = max(row.end for row in rows)
    return choose(request, rows, numbers, length + -length % 8, pictures)


# measured on an H100: plain, under a mask and in one call of FlashAttention
CASES = {
    "a pair": [(676, [200, 200])],
    "4 uneven pairs": [(676, [200, 150]), (500, [100, 300]), (700, [200, 200]), (600, [80, 120])],
    "short prompt, long answers": [(24, [1024, 1024])],
    "16 pairs": [(600 + 10 * i, [200 - 5 * i, 100 + 5 * i]) for i in range(16)],
    "8 answers to 4 prompts": [(100 + 30 * n, [300 - 20 * i - 9 * n for i in range(8)]) for n in range(4)],
}


@pytest.mark.parametrize("name", CASES)
def test_flash_attention_takes_all_rows_in_one(name):
    request = replace(REQUEST, device="cuda half", attention=segments.VARLEN)
    found = taken(CASES[name], request)
    assert found.way == (cost.SPLIT if len(CASES[name]) == 1 else cost.PACKED) and found.reasons == {}


@pytest.mark.parametrize(
    "name, way",
    [
        ("a pair", cost.SPLIT),
        ("4 uneven pairs", cost.PACKED),
        ("short prompt, long answers", cost.ROWS),
        ("16 pairs", cost.PACKED),
        ("8 answers to 4 prompts", cost.PACKED),
    ],
)
def test_on_a_cpu(name, way):
    assert taken(CASES[name]).way == way


def test_no_packing_for_next_to_nothing():
    """8 equal pairs: 0.8 % of the tokens are the padding to a multiple of 8."""
    found = taken([(100, [70, 68])] * 8)
    assert found.way in (cost.SHARED, cost.SPLIT)
    assert found.reasons == {PADDING_FREE: "there is too little padding for what packing costs"}


def test_prompts_too_short_to_share():
    found = taken([(8, [1000, 1000])])
    assert found.way == cost.ROWS
    assert found.reasons == {SHARED_PREFIX: "the prompts are too short for what sharing them costs"}
    # a tower that would work twice costs more than all of that
    once = taken([(8, [1000, 1000])], replace(REQUEST, on=REQUEST.on - {VISION_ONCE}), pictures=True)
    assert once.way != cost.ROWS and once.reasons == {}


def test_launches_decide_for_a_model_without_work():
    tiny = replace(REQUEST, layer=cost.Layer(1e3, 2, 2, 8))
    uneven = [(20 + i, [10, 10 + i]) for i in range(16)]
    assert (taken(uneven).way, taken(uneven, tiny).way) == (cost.PACKED, cost.SHARED)


@pytest.mark.parametrize("pairs", [1, 3])
@pytest.mark.parametrize("always", [False, True])
def test_what_may_not_be_used_is_not(pairs, always):
    groups = CASES["4 uneven pairs"][:pairs]
    one = {
        frozenset(): {cost.ROWS},
        frozenset({SHARED_PREFIX}): {cost.ROWS, cost.SHARED},  # pieces are what `padding_free` was compared with
        frozenset({PADDING_FREE}): {cost.ROWS, cost.PACKED},
    }
    for on, ways in one.items():
        assert taken(groups, replace(REQUEST, on=on, always=always)).way in ways
    masked = replace(REQUEST, whole="sliding windows", always=always)
    assert taken(groups, masked).way in {cost.ROWS, cost.SHARED}
    assert taken(groups, masked).reasons == {PADDING_FREE: "sliding windows"}
    flash = replace(
        REQUEST, attention=segments.FLASH, device="cuda half", on=frozenset({SHARED_PREFIX}), always=always
    )
    assert taken(groups, flash).way in {cost.ROWS, cost.SPLIT}


@pytest.mark.parametrize(
    "on, way", [(SPEEDUPS, cost.PACKED), ({SHARED_PREFIX}, cost.SHARED), ({PADDING_FREE}, cost.PACKED)]
)
def test_a_comparison_uses_all_that_is_on(on, way):
    found = taken(CASES["short prompt, long answers"], replace(REQUEST, on=frozenset(on), always=True))
    assert found.way == way and found.reasons == {}


@pytest.mark.parametrize("inner", [{}, {"intermediate_size": [64, 128]}], ids=["another name", "a list"])
def test_configurations_that_name_their_layers_otherwise(inner):
    text = SimpleNamespace(hidden_size=32, num_attention_heads=4, num_experts_per_tok=None, **inner)
    assert cost.Layer.of(SimpleNamespace(get_text_config=lambda: text)) == cost.Layer(64 * (128 + 384), 4, 4, 8)
