# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""A small random Qwen2-VL whose parts cost relative to each other what those of a 2B or a 7B model cost.

Equal to the large ones: output head to language model, vision tower to language model a visual token, prompt to
response. `floor_flops` is derived from the shapes alone, without a counter and without the package's own arithmetic.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

RANK = 8
PATCH = 1176  # numbers of a patch: 3 colours x 2 frames x 14 x 14
SHAPES = {
    "2b": dict(hidden=384, layers=6, heads=6, mlp=1536, vocabulary=6144, tower=256, blocks=8),
    "7b": dict(hidden=512, layers=6, heads=8, mlp=2048, vocabulary=3840, tower=192, blocks=4),
}


@dataclass(frozen=True)
class Pair:
    """Sizes of one pair: patches of a picture down and across (four make a visual token), tokens of text, pictures."""

    grid: tuple[int, int]
    text: int
    chosen: int
    rejected: int
    pictures: int = 1

    @property
    def visual(self) -> int:
        return self.pictures * self.grid[0] * self.grid[1] // 4

    @property
    def prompt(self) -> int:
        """Four tokens in front, and the pictures, each between two marks."""
        return 4 + self.visual + 2 * self.pictures + self.text


def make_pairs(count: int, size: float = 1.0) -> list[Pair]:
    """One pair, or several uneven ones that come to about the same number of tokens. `size` scales all."""
    if count == 1:
        side = 2 * round(16 * size**0.5)
        return [Pair((side, side), round(64 * size), round(64 * size), round(64 * size))]
    side, text = 16 * (size / count) ** 0.5, 64 * size / count
    uneven = ((1.0, 1.0, 1.75, 0.5), (0.5, 0.5, 0.75, 1.25), (1.5, 1.5, 1.0, 0.75), (1.0, 1.0, 0.5, 1.5))
    rows = [uneven[i % len(uneven)] for i in range(count)]
    return [
        Pair((2 * round(side), 2 * round(side * high)), *(round(text * share) for share in tokens))
        for high, *tokens in rows
    ]


def build(shape: dict[str, int], mode: str) -> tuple[Any, Any]:
    """Policy and reference as LlamaFactory makes them, of a shape such as those of SHAPES; the policy is a little away
    from the reference."""
    from types import SimpleNamespace

    import torch
    from llamafactory.model.model_utils.checkpointing import prepare_model_for_training
    from peft import LoraConfig, get_peft_model
    from transformers import Qwen2VLConfig, Qwen2VLForConditionalGeneration

    half = shape["hidden"] // shape["heads"] // 2
    sections = [half // 4, (half - half // 4) // 2, half - half // 4 - (half - half // 4) // 2]
    text: dict[str, Any] = dict(
        vocab_size=shape["vocabulary"], hidden_size=shape["hidden"], intermediate_size=shape["mlp"]
    )
    text |= dict(num_hidden_layers=shape["layers"], num_attention_heads=shape["heads"], num_key_value_heads=2)
    text |= dict(rope_parameters={"rope_type": "default", "mrope_section": sections, "rope_theta": 1e6})
    text |= dict(bos_token_id=0, eos_token_id=1, pad_token_id=2, tie_word_embeddings=False)
    vision = dict(depth=shape["blocks"], embed_dim=shape["tower"], hidden_size=shape["hidden"], num_heads=4)
    tokens = dict(image_token_id=10, video_token_id=11, vision_start_token_id=12, vision_end_token_id=13)
    torch.manual_seed(0)
    config = Qwen2VLConfig(text_config=text, vision_config=vision | {"mlp_ratio": 4}, **tokens)
    model = Qwen2VLForConditionalGeneration._from_config(config, attn_implementation="sdpa", dtype=torch.float32)
    options = dict(upcast_layernorm=False, disable_gradient_checkpointing=False, use_unsloth_gc=False)
    prepare_model_for_training(model, SimpleNamespace(**options, use_reentrant_gc=True, upcast_lmhead_output=False))
    generator = torch.Generator().manual_seed(1)
    if mode == "lora":
        names = [n for n, m in model.named_modules() if isinstance(m, torch.nn.Linear) and "language_model" in n]
        model = get_peft_model(model, LoraConfig(r=RANK, target_modules=names, task_type="CAUSAL_LM"))
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.data.normal_(0, 0.02, generator=generator)
        return model.train(), None
    reference = copy.deepcopy(model).requires_grad_(False).eval()
    for name, parameter in model.named_parameters():
        if "visual." in name:
            parameter.requires_grad_(False)  # LlamaFactory's default, freeze_vision_tower: true
        else:
            parameter.data.add_(torch.randn(parameter.shape, generator=generator) * 0.002)
    return model.train(), reference


def make_batch(model: Any, vocabulary: int, pairs: list[Pair], device: str = "cpu") -> dict[str, Any]:
    """Pairs as LlamaFactory's collator makes them: chosen rows, then rejected rows, padded to a multiple of 8.

    Rows without any picture get one that nobody attends to.
    """
    import torch

    generator = torch.Generator().manual_seed(7)

    def text(count: int) -> torch.Tensor:
        return torch.randint(100, vocabulary, (count,), generator=generator)

    def pictures(grid: tuple[int, int], count: int) -> list[torch.Tensor]:
        one = [torch.tensor([12]), torch.full((grid[0] * grid[1] // 4,), 10), torch.tensor([13])]
        return one * count

    prompts = [torch.cat([text(4), *pictures(p.grid, p.pictures), text(p.text)]) for p in pairs]
    ends = [text(p.chosen) for p in pairs] + [text(p.rejected) for p in pairs]
    rows = [torch.cat(row) for row in zip(prompts * 2, ends, strict=True)]
    lengths = torch.tensor([len(row) for row in rows])
    grids = [(1, *p.grid) for p in pairs for _ in range(p.pictures)]
    pixels = torch.randn(sum(4 * p.visual for p in pairs), PATCH, generator=generator).repeat(2, 1)
    if not grids:
        rows[0] = torch.cat((rows[0], *pictures((4, 4), 1)))
        pixels, grid = torch.randn(16, PATCH, generator=generator), torch.tensor([(1, 4, 4)])
    else:
        grid = torch.tensor(grids * 2)
    longest = max(map(len, rows))
    ids = torch.nn.utils.rnn.pad_sequence([*rows, torch.zeros(longest + -longest % 8).long()], True, 2)[:-1]
    column = torch.arange(ids.shape[1])
    mask = (column < lengths[:, None]).long()
    answered = column >= torch.tensor([p.prompt for p in pairs] * 2)[:, None]
    labels = torch.where((mask == 1) & answered, ids, -100)
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    kinds = (ids == 10).int()
    positions, _ = base.model.get_rope_index(ids, image_grid_thw=grid, mm_token_type_ids=kinds, attention_mask=mask)
    batch = dict(input_ids=ids, attention_mask=mask, labels=labels, pixel_values=pixels, image_grid_thw=grid)
    batch["position_ids"] = torch.cat([positions[:1], positions])
    return {name: value.to(device) for name, value in batch.items()}


def make_trainers(model: Any, reference: Any, folder: str, mode: str = "lora", **options: Any) -> tuple[Any, Any]:
    """LlamaFactory's DPO trainer and ours, built by their own constructors.

    Args:
        model: the policy.
        reference: another model, or None.
        folder: where they would write.
        mode: `finetuning_type`.
        options: of the training arguments; on a CPU by default.
    """
    from llamafactory.hparams import FinetuningArguments, TrainingArguments
    from llamafactory.train.dpo.trainer import CustomDPOTrainer

    from resonance.training.preference import PreferenceTrainer

    options = {"use_cpu": True, **options}
    args = TrainingArguments(output_dir=folder, report_to="none", remove_unused_columns=False, **options)
    recipe = dict(stage="dpo", finetuning_type=mode)
    recipes = FinetuningArguments(**recipe), FinetuningArguments(**recipe, pref_engine="resonance", record_pairs=False)
    shared = dict(args=args, tokenizer=None, data_collator=lambda rows: rows, train_dataset=[{}])
    return tuple(
        make(model=model, ref_model=reference, finetuning_args=recipe, processor=None, **shared)
        for make, recipe in zip((CustomDPOTrainer, PreferenceTrainer), recipes, strict=True)
    )


def our_step(
    trainer: Any, model: Any, batch: dict[str, Any], on: Collection[str], on_disk: dict[str, Any] | None = None
) -> Callable[[], Any]:
    """A function that does a forward of our trainer and gives the loss.

    Args:
        trainer: ours.
        model: the policy, wrapped or not.
        batch: of pairs.
        on: the speed-ups, which are not compared with the plain path before.
        on_disk: log-probabilities of the reference, which is then not called.
    """
    from resonance.forward.call import Forward

    forward, batch = Forward(on), batch | (on_disk or {})
    engine = trainer.engine
    live = engine.policy if trainer.ref_model is None else trainer.ref_model

    def run() -> Any:
        engine.use(forward)
        engine.reference = live if on_disk is None else None
        return trainer.get_batch_loss_metrics(model, dict(batch))[0]

    return run


def as_collated(model: Any, batch: dict[str, Any], on: Collection[str], pictures: list[int]) -> dict[str, Any]:
    """A batch of pairs as our collator makes it: the pixels of each picture once, and the layout beside them.

    Args:
        model: unwrapped, whose reference reads batches as it does.
        batch: of `make_batch`, with pictures.
        on: the speed-ups in use.
        pictures: of each pair.
    """
    from itertools import accumulate

    from resonance.forward.planner import Planner
    from resonance.forward.request import Request

    count = sum(pictures)
    lengths = batch["image_grid_thw"].prod(-1)[:count].tolist()
    ends = [0, *accumulate(pictures)]
    rows = [list(range(start, end)) for start, end in zip(ends, ends[1:], strict=False)]
    batch = batch | {"pixel_values": batch["pixel_values"][: sum(lengths)]}
    planner = Planner()
    planner.request = Request.of([model], on, always=False)
    return batch | {Planner.key: planner(batch, {"image": (rows * 2, lengths)})}


def decided(trainer: Any, model: Any, batch: dict[str, Any]) -> frozenset[str]:
    """The speed-ups that `pref_speedups: auto` decides on with a batch."""
    trainer.engine.forward = None
    trainer.engine.prepare(model, batch)
    return trainer.engine.forward.on


def floor_flops(ratio: str, mode: str, pairs: list[Pair], reference: bool = True, recompute: bool = True) -> float:
    """FLOPs of matrix products that an exact step cannot do without, with attention itself left out.

    Each token of prompt, chosen and rejected once, unpadded; the head on the tokens that predict responses; each
    picture encoded once, without a backward, for a tower that is frozen. A product costs as much for the gradient of
    its input, and again for that of its weight if that trains. `recompute`: and the layers' forward once more, as
    gradient checkpointing has it. `reference`: one forward of the reference.
    """
    shape = SHAPES[ratio]
    width, inner, tower, layers = shape["hidden"], shape["mlp"], shape["tower"], shape["layers"]
    heads = 2 * width // shape["heads"]  # keys, and values, of the two groups
    sides = [(width, width), (width, heads), (width, heads), (width, width)]  # query, key, value, output
    sides += [(width, inner), (width, inner), (inner, width)]  # gate, up, down
    matrices = layers * sum(a * b for a, b in sides)
    adapters = layers * sum(RANK * (a + b) for a, b in sides) if mode == "lora" else 0
    head, trains = width * shape["vocabulary"], mode == "full"

    tokens = sum(p.prompt + p.chosen + p.rejected for p in pairs)
    rows = sum(p.chosen + p.rejected for p in pairs)
    policy = tokens * (matrices * (2 + trains + recompute) + adapters * (3 + recompute))
    policy += rows * head * (2 + trains)
    block = 4 * tower**2 + 2 * 4 * tower**2  # attention's four matrices, and two of the MLP
    merger = (4 * tower) ** 2 + 4 * tower * width
    pictures = sum(4 * p.visual * (PATCH * tower + shape["blocks"] * block) + p.visual * merger for p in pairs)
    return 2.0 * (policy + pictures + reference * (tokens * matrices + rows * head))
