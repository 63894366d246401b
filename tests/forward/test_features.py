# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Features of pictures kept from batch to batch: the same numbers, within their budget, off where wrong or useless."""

from __future__ import annotations

import copy

import pytest
import torch
from peft import LoraConfig, get_peft_model

from forward.conftest import both, gradients
from forward.test_vision import VISION, Count
from forward.tiny import FAMILIES, for_training, inner, join, make, pairs, picture
from resonance.forward import pictures, tower
from resonance.forward.account import Account
from resonance.forward.call import Forward
from resonance.forward.features import FeatureCache
from resonance.forward.names import SPEEDUPS
from resonance.forward.result import sums


def cache(budget=1 << 24, pictures=1 << 20, **options):
    told = []
    made = FeatureCache(budget, pictures, told.append, **options)
    return made, told


def step(model, reference, batch, kept=None, on=SPEEDUPS):
    """Log-probabilities of policy and reference, and the policy's gradients."""
    ours, theirs = both(model, reference, batch, on, kept)
    sums(ours).sum().backward()
    return ours.values.detach(), theirs.values, gradients(model)


def batches(model, video=False):
    """Five batches over five pictures, two of one row with two, none like another; the last is without a picture."""
    one, two, three, four = (picture(model, seed, video and seed == 1) for seed in (1, 2, 3, 4))
    rows = ([[one], [three]], [[two], [one]], [[four, three], [two]], [[one]], [[]])
    return [pairs(model, row, seed=seed) for seed, row in enumerate(rows)]


def same(found, wanted):
    for ours, theirs in zip(found[:2], wanted[:2], strict=True):
        assert torch.equal(ours, theirs)
    assert all(torch.equal(found[2][name], wanted[2][name]) for name in wanted[2])


@pytest.mark.parametrize("mode", ["lora", "frozen"])
@pytest.mark.parametrize("family", VISION)
def test_bit_for_bit_as_without(family, mode):
    """Two epochs, the second without a call of the tower: equal log-probabilities and gradients of every parameter."""
    model = for_training(make(FAMILIES[family]()), mode, "reentrant")
    reference = model if mode == "lora" else copy.deepcopy(model).requires_grad_(False)
    data = batches(model, video=family.startswith("qwen2"))
    wanted = [step(model, reference, batch) for batch in data]
    kept, told = cache()
    count, other, calls = Count(model), Count(reference), {}
    for epoch in range(2):
        for batch, expected in zip(data, wanted, strict=True):
            same(step(model, reference, batch, kept), expected)
        calls[epoch] = len(count.pixels) + (len(other.pixels) if reference is not model else 0)
    assert told == [] and kept.reason is None and calls[1] == calls[0]
    assert kept.account.lookups == 2 * 9 and kept.account.hits == 18 - len(kept)
    assert len(kept) == 5 if family != "internvl" else len(kept) >= 5


def test_plain_path_too():
    """With every speed-up off, the second copy of each picture is found, and the reference's."""
    model = for_training(make(FAMILIES["qwen2_vl"]()), "lora")
    batch = pairs(model, [[picture(model, 1)], [picture(model, 2)]])
    wanted = step(model, model, batch, on=())
    kept, _ = cache()
    same(step(model, model, batch, kept, on=()), wanted)
    assert (kept.account.lookups, kept.account.hits, len(kept)) == (8, 6, 2)


def test_in_half_precision_and_autocast():
    """Autocast gives other features than none; each is kept for itself."""
    model = for_training(make(FAMILIES["qwen2_vl"]()), "lora")
    batch = pairs(model, [[picture(model, 1)]])
    kept, _ = cache()
    full = step(model, model, batch, kept)
    for _ in range(2):
        with torch.autocast("cpu", torch.bfloat16):
            wanted, found = step(model, model, batch), step(model, model, batch, kept)
        same(found, wanted)
    assert len(kept) == 2 and not torch.equal(found[0], full[0])
    same(step(model, model, batch, kept), full)


# -- what a picture is known by ---------------------------------------------------------------------------------------


def test_any_bit_and_any_place_counts():
    pixels = torch.randn(40, 300)
    seen = {tuple(pictures.digest(pixels).tolist())}
    for place in (0, 1, 4095, 4096, 11_999):
        for bit in (0, 13, 31):
            changed = pixels.clone()
            changed.view(-1).view(torch.int32)[place] ^= torch.tensor(1 << bit).to(torch.int32)
            seen.add(tuple(pictures.digest(changed).tolist()))
    swapped = pixels[torch.tensor([1, 0, *range(2, 40)])]
    seen.add(tuple(pictures.digest(swapped).tolist()))
    seen.add(tuple(pictures.digest(pixels.bfloat16()).tolist()))
    assert len(seen) == 1 + 15 + 2
    assert pictures.digest(pixels.T).tolist() == pictures.digest(pixels.T.contiguous()).tolist()


def test_digests_do_not_collide():
    """Of 20 000 short contents with few different values, no two are equal in even two of four lanes."""
    values = torch.cartesian_prod(*[torch.arange(11.0)] * 4)
    found = torch.stack([pictures.digest(row) for row in values])
    assert len(found[:, :2].unique(dim=0)) == len(found[:, 2:].unique(dim=0)) == len(values)


def test_filled_up_tiles_and_grids():
    """The same picture beside one of more tiles is the same; the same pixels on another grid are not."""
    model = make(FAMILIES["llava_next"]())
    small, large = picture(model, 1), picture(model, 2)
    alone = pictures.split((), small.inputs)
    together = pictures.split((), {name: join([small.inputs[name], large.inputs[name]]) for name in small.inputs})
    assert together[0][1]["pixel_values"].shape[1] > alone[0][1]["pixel_values"].shape[1]
    assert pictures.keys(alone)[0] == pictures.keys(together)[0] != pictures.keys(together)[1]
    pixels = torch.randn(24, 8)
    grids = [pictures.split((pixels, torch.tensor([grid])), {}) for grid in ([1, 4, 6], [1, 6, 4], [1, 2, 12])]
    assert len({pictures.keys(calls)[0] for calls in grids}) == 3


def test_masks_of_pixels_count():
    """As Idefics has them: more numbers than are taken as they are."""
    pixels, masks = torch.randn(2, 1, 3, 9, 9), torch.ones(2, 1, 9, 9, dtype=torch.bool)
    whole = pictures.keys(pictures.split((pixels,), {"pixel_attention_mask": masks}))
    again = pictures.keys(pictures.split((pixels,), {"pixel_attention_mask": masks.clone()}))
    masks[1, 0, 8, 8] = False
    cut = pictures.keys(pictures.split((pixels,), {"pixel_attention_mask": masks}))
    assert whole == again and whole[0] == cut[0] and whole[1] != cut[1]


def test_inputs_that_cannot_be_told_apart():
    pixels, rows = torch.randn(24, 8), torch.randn(2, 3, 4, 4)
    for args, kwargs in (
        ((pixels,), {}),
        ((pixels, torch.tensor([[1, 4, 4]])), {}),
        ((rows, rows), {}),
        ((rows,), {"sizes": [[1, 2], [3, 4]]}),
        ((rows, torch.tensor([1, 2, 3])), {}),
    ):
        assert pictures.split(args, kwargs) is None


# -- budget and switches ----------------------------------------------------------------------------------------------


def test_budget():
    """What is full admits nothing more, and what it has is still found."""
    model = for_training(make(FAMILIES["qwen2_vl"]()), "lora")
    kept, told = cache(budget=1500)
    data = [pairs(model, [[picture(model, seed)]]) for seed in range(2, 12, 2)]
    wanted = [step(model, model, batch) for batch in data]
    for _ in range(2):
        for batch, expected in zip(data, wanted, strict=True):
            same(step(model, model, batch, kept), expected)
            assert kept.bytes <= 1500
    assert 0 < len(kept) < 5 and kept.account.hits == len(kept)
    assert len(told) == 1 and told[0].startswith(f"image_feature_cache: full with {len(kept)} pictures")


@pytest.mark.parametrize("budget", [1, 64, 1000, (1 << 26) + 5, 10**9])
def test_host_memory_stays_within_its_budget(budget):
    from resonance.forward.features import HostMemory

    memory = HostMemory(budget)
    kept, used = [], 0
    for count in (3, 5000, 17, 1, 40_000):
        tensors = [torch.randn(count), torch.randn(count, 2).bfloat16().T]
        if (found := memory.keep(tensors)) is not None:
            kept.append((tensors, found))
            used += sum(t.nbytes for t in tensors)
    assert used <= memory.allocated <= budget
    for tensors, found in kept:
        assert all(torch.equal(a, b) and a.dtype == b.dtype for a, b in zip(tensors, found, strict=True))
    assert len(kept) == (5 if budget > 1 << 20 else {1: 0, 64: 0, 1000: 3}[budget])


def test_dropped_when_the_tower_changes():
    """A tower that trains is never served from memory, and what was kept is gone, also when it is frozen again."""
    model = for_training(make(FAMILIES["qwen2_vl"]()), "lora", "reentrant")
    batch, (kept, told) = pairs(model, [[picture(model, 1)]]), cache()
    step(model, model, batch, kept)
    assert len(kept) == 1
    weight = next(p for n, p in model.named_parameters() if "visual" in n and p.ndim > 1)
    weight.requires_grad_(True)
    same(step(model, model, batch, kept), step(model, model, batch))
    assert (
        len(kept) == 0 and kept.bytes == 0 and told == ["image_feature_cache: not used while the vision tower trains."]
    )
    weight.requires_grad_(False)
    step(model, model, batch, kept)
    assert len(kept) == 1
    with torch.no_grad():
        weight.mul_(1.5)
    same(step(model, model, batch, kept), step(model, model, batch))
    assert kept.account.hits == 0


def test_unfrozen_between_layout_and_call():
    """Looked up at every call, not only when the batch is prepared."""
    model = for_training(make(FAMILIES["qwen2_vl"]()), "lora")
    batch, (kept, _) = pairs(model, [[picture(model, 1)]]), cache()
    step(model, model, batch, kept)
    forward = Forward(SPEEDUPS)
    forward.feature_cache = kept
    prepared = forward.prepare(batch, model)
    for parameter in tower.tower_parameters(model):
        parameter.requires_grad_(True)
    count = Count(model)
    Forward.call(model, model, prepared)
    assert count.graphs == [True] and kept.account.hits == 0


def test_another_reference_is_not_served():
    model = for_training(make(FAMILIES["qwen2_vl"]()), "frozen")
    reference = copy.deepcopy(model).requires_grad_(False)
    with torch.no_grad():
        tower.tower_parameters(reference)[3].mul_(1.1)
    batch, (kept, _) = pairs(model, [[picture(model, 1)]]), cache()
    wanted = step(model, reference, batch)
    for _ in range(2):
        same(step(model, reference, batch, kept), wanted)
    assert (kept.account.lookups, kept.account.hits) == (2, 1)


def broken(model, how):
    """A tower whose features are not a function of one picture."""
    core, original = inner(model).model, type(inner(model).model).get_image_features
    if how == "dropout":
        core.visual.blocks[0].attn.attention_dropout = 0.1
    elif how == "normalises over the batch":
        core.visual.norm = torch.nn.BatchNorm1d(4).requires_grad_(False)
    elif how == "has adapters":
        names = [n for n, _ in model.named_modules() if n.endswith("attn.qkv")]
        return get_peft_model(model, LoraConfig(r=2, target_modules=names)).requires_grad_(False)
    elif how == "spread over ranks":
        tower.tower_parameters(model)[0].ds_id = 1
    else:

        def features(self, pixel_values, image_grid_thw=None, **kwargs):
            found = original(self, pixel_values, image_grid_thw, **kwargs)
            if how == "depend on the others":
                found.pooler_output = [part + pixel_values.mean() for part in found.pooler_output]
            elif how == "take one picture alone":
                if len(image_grid_thw) == 1:
                    raise ValueError("two pictures, please")
            elif how == "structure that is not known":
                found = {"pooler_output": found.pooler_output, "names": "of something"}
                return type("Features", (dict,), {"pooler_output": found["pooler_output"]})(found)
            return found

        core.__class__ = type(type(core).__name__, (type(core),), {"get_image_features": features})
    return model


HOW = ["dropout", "normalises over the batch", "has adapters", "spread over ranks", "depend on the others"]


@pytest.mark.parametrize("how", [*HOW, "take one picture alone", "structure that is not known"])
def test_off_where_it_would_be_wrong(how):
    model = broken(make(FAMILIES["qwen2_vl"]()), how)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_("visual" not in name)
    batch, (kept, told) = pairs(model, [[picture(model, 1)], [picture(model, 2)]]), cache()
    forward = Forward(())
    forward.feature_cache = kept
    prepared = forward.prepare(batch, model)
    if how not in ("dropout", "normalises over the batch"):  # which this tiny tower cannot run
        found = Forward.call(model, model, prepared).values
        assert torch.equal(found, Forward.call(model, model, Forward(()).prepare(batch, model)).values)
    assert len(kept) == 0 and len(told) == 1 and "switched off" in told[0] and how in told[0]
    assert not kept.serves(model)


# -- whether it pays --------------------------------------------------------------------------------------------------


def account(pictures, window, **seconds):
    made = Account(pictures, window)
    for work, value in seconds.items():
        made._seconds[work.replace("_", " ")] = [value]
    return made


def play(made, found):
    """The first verdict, and after how many pictures."""
    for number, hit in enumerate(found, 1):
        made.count(hit)
        if verdict := made.verdict():
            return number, verdict
    return None


FAST = {"encode": 1e-2, "look_up": 1e-3, "fetch": 1e-3}


@pytest.mark.parametrize(
    ("found", "seconds", "expected"),
    [
        ([False] * 40 + [True] * 100, FAST, None),
        ([False] * 40, FAST, None),  # the first epoch says nothing
        ([False] * 200, FAST, 50),  # pictures never come again
        ([False] * 40 + ([True] + [False] * 9) * 20, FAST, 51),  # one in ten does not pay, two do
        ([False] * 40 + ([True] * 2 + [False] * 8) * 20, FAST, None),
        ([False] * 40 + [True] * 200, FAST | {"look_up": 2e-2}, None),
    ],
)
def test_verdict(found, seconds, expected):
    made = account(40, 10, **seconds)
    told = play(made, found)
    assert (told and told[0]) == expected


def test_a_lookup_that_costs_more_than_encoding():
    """Judged as soon as anything is encoded beyond the first epoch, and by what was measured."""
    made = account(40, 10, encode=1e-3, look_up=2e-3, fetch=1e-4)
    number, why = play(made, [False] * 40 + [True] * 5 + [False] + [True] * 200)
    assert number == 55 and "does not pay" in why and "1.0 ms to encode, 2.0 ms to look up" in why


def test_off_when_it_does_not_pay():
    """Pictures that never come again: said once, memory given back, and the run goes on as without."""
    model = for_training(make(FAMILIES["qwen2_vl"]()), "lora")
    kept, told = cache(pictures=2, window=4)
    for seed in range(2, 26, 2):
        batch = pairs(model, [[picture(model, seed)]])
        same(step(model, model, batch, kept), step(model, model, batch))
    assert kept.account.lookups == 6 and kept.bytes == 0 and len(kept) == 0
    assert len(told) == 1 and "of the last 4 pictures 0 were found" in told[0]


def test_another_tower_is_judged_by_what_it_is_asked_itself():
    """A full run whose reference is computed before it trains: the reference's pictures were not found, of course."""
    reference, model = (for_training(make(FAMILIES["qwen2_vl"]()), "lora") for _ in range(2))
    kept, told = cache(pictures=4, window=4)
    for one in (reference, model):
        for seed in (2, 4, 6, 8):
            step(one, one, pairs(one, [[picture(one, seed)]]), kept)
    assert told == [] and kept.reason is None and (kept.account.lookups, kept.account.hits) == (4, 0)
    step(model, model, pairs(model, [[picture(model, 2)]]), kept)
    assert kept.account.hits == 1
