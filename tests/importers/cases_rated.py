# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""The sets with one question about one image: VLFeedback, RLHF-V, RLAIF-V, topic-overwrite, VQA-RAD, OpenVLThinker."""

from __future__ import annotations

import json
from typing import Any

from importers.case import Case, answer, pair, picture

RED, BLUE = picture(1), picture(2, "JPEG")


def annotations(*ratings: str) -> dict[str, Any]:
    names = ("Helpfulness", "Ethical Considerations", "Visual Faithfulness")
    return {name: {"Rating": rating, "Rationale": "because"} for name, rating in zip(names, ratings, strict=True)}


# scores 5, 4, 4 and 2; then one that is not rated in numbers
RATED = [
    {"model": "a", "response": "A red square.", "annotations": annotations("5", "5", "5")},
    {"model": "b", "response": "A square.", "annotations": annotations("4", "5", "3")},
    {"model": "c", "response": "Red.", "annotations": annotations("3", "5", "4")},
    {"model": "d", "response": "A dog.", "annotations": annotations("1", "4", "1")},
]
UNRATED = [*RATED[:1], RATED[3] | {"annotations": annotations("2", "N/A", "1")}, *RATED[1:2]]


def columnwise(answers: list[dict[str, Any]]) -> dict[str, list[Any]]:
    """As `datasets` lays out a sequence of structs."""
    return {name: [answer[name] for answer in answers] for name in answers[0]}


def rated(better: int, worse: int, **columns: Any) -> dict[str, Any]:
    scores = (5.0, 4.0, 4.0, 2.0)
    models = {"model_chosen": RATED[better]["model"], "model_rejected": RATED[worse]["model"]}
    columns |= {"score_chosen": scores[better], "score_rejected": scores[worse]}
    return pair(
        "<image>What is shown?",
        RATED[better]["response"],
        RATED[worse]["response"],
        RED,
        **columns,
        id="svit-1",
        **models,
    )


VLFEEDBACK = {"id": "svit-1", "prompt": "What is shown?", "models": ["a", "b", "c", "d"]}
EMBEDDED = {"image": {"bytes": RED, "path": "1.png"}}

RLAIF_V = [
    {
        "ds_name": "RLAIF-V",
        "image": {"bytes": image, "path": None},
        "question": question,
        "chosen": "It is red.",
        "rejected": "It is blue.",
        "origin_dataset": "coco",
        "origin_split": '{"model": "x"}',
        "idx": index,
        "image_path": "coco/1.jpg",
    }
    for image, question, index in ((RED, "What colour is it?", "0"), (BLUE, "Colour?\n<image>", "1"))
]
RLAIF_V_ROWS = [
    pair(
        "<image>What colour is it?",
        "It is red.",
        "It is blue.",
        RED,
        ds_name="RLAIF-V",
        origin_dataset="coco",
        idx="0",
    ),
    pair("Colour?\n<image>", "It is red.", "It is blue.", BLUE, ds_name="RLAIF-V", origin_dataset="coco", idx="1"),
]

RLHFV_TEXT = json.dumps({"question": "What is it?", "chosen": "A square.", "rejected": "A circle, and a dog."})
RLHFV = {
    "ds_name": "RLHF-V",
    "image": {"bytes": BLUE, "path": "0.jpg"},
    "text": RLHFV_TEXT,
    "origin_dataset": "vqa",
    "origin_split": '{"model": "m", "type": "detail"}',
    "idx": 7,
    "image_path": "RLHF-V/0.jpg",
}
RLHFV_ROW = pair(
    "<image>What is it?", "A square.", "A circle, and a dog.", BLUE, ds_name="RLHF-V", origin_dataset="vqa", idx="7"
)

VQA_RAD = [
    {"image": {"bytes": RED, "path": None}, "question": "Is there a fracture?", "answer": "Yes"},
    {"image": {"bytes": BLUE, "path": None}, "question": "where is the mass?", "answer": "left lung"},
    {"image": {"bytes": RED, "path": None}, "question": "Where is the line?", "answer": "right arm"},
]

THINKER = {
    "messages": [
        {"content": "<image>How many? Think first.", "role": "user"},
        {"content": "<think>One, I see.</think><answer>1</answer>", "role": "assistant"},
    ],
    "images": [{"bytes": RED, "path": None}],
}


def chat(*parts: dict[str, Any]) -> dict[str, Any]:
    said = [{"type": "text", next(key for key in ("value", "text") if key in parts[1]): "A square."}]
    return {"messages": [{"role": "user", "content": list(parts)}, {"role": "assistant", "content": said}]}


THINKER_ROW = answer("<image>How many? Think first.", "<think>One, I see.</think><answer>1</answer>", RED)
SCORED = {"pref_loss": "uni_dpo"}

CASES = [
    Case(
        "vlfeedback, parquet: each prompt's widest pair",
        "vlfeedback",
        [VLFEEDBACK | EMBEDDED | {"completions": columnwise(RATED)}],
        [rated(0, 3)],
        recipe=SCORED,
    ),
    Case(
        "vlfeedback, jsonl with img_path: all pairs that differ",
        "vlfeedback",
        [VLFEEDBACK | {"img_path": "merged_images/1.png", "completions": RATED}],
        [rated(0, 1), rated(0, 2), rated(0, 3), rated(1, 3), rated(2, 3)],
        suffix=".jsonl",
        media={"pictures/merged_images/1.png": RED},
        flags=("--score-margin", "0", "--image-root", "{folder}/pictures"),
    ),
    Case(
        "vlfeedback, columns in jsonl: a margin of 2, and one answer without a rating",
        "vlfeedback",
        [
            VLFEEDBACK | {"img_path": "1.png", "completions": columnwise(RATED)},
            VLFEEDBACK | {"img_path": "1.png", "completions": columnwise(UNRATED)},
        ],
        [rated(0, 3), rated(1, 3), rated(2, 3)],
        suffix=".jsonl",
        media={"1.png": RED},
        flags=("--score-margin", "2"),
    ),
    Case("rlhfv, embedded", "rlhfv", [RLHFV], [RLHFV_ROW]),
    Case(
        "rlhfv, paths below an image root",
        "rlhfv",
        [{key: value for key, value in RLHFV.items() if key != "image"}],
        [RLHFV_ROW],
        suffix=".json",
        media={"root/RLHF-V/0.jpg": BLUE},
        flags=("--image-root", "{folder}/root"),
    ),
    Case("rlaif_v", "rlaif_v", RLAIF_V, RLAIF_V_ROWS),
    Case(
        "topic_overwrite, jsonl, with log-probs that are not read",
        "topic_overwrite",
        [row | {"image": None, "image_path": f"{row['idx']}.png", "logps": "{}"} for row in RLAIF_V],
        RLAIF_V_ROWS,
        suffix=".jsonl",
        media={"0.png": RED, "1.png": BLUE},
        flags=("--copy-images", "--format", "jsonl"),
    ),
    Case(
        "vqa_rad",
        "vqa_rad",
        VQA_RAD,
        [
            answer("<image>Is there a fracture?", "Yes", RED),
            answer("<image>where is the mass?", "left lung", BLUE),
            answer("<image>Where is the line?", "right arm", RED),
        ],
        file="train-00000-of-00001",
    ),
    Case(
        "vqa_rad, synthetic pairs",
        "vqa_rad",
        VQA_RAD,
        [
            pair("<image>Is there a fracture?", "Yes", "No", RED, synthetic=True),
            pair("<image>where is the mass?", "left lung", "right arm", BLUE, synthetic=True),
            pair("<image>Where is the line?", "right arm", "left lung", RED, synthetic=True),
        ],
        flags=("--synthetic-pairs", "--name", "vqa_rad_synthetic"),
    ),
    Case("openvlthinker", "openvlthinker", [THINKER, THINKER], [THINKER_ROW, THINKER_ROW]),
    Case(
        "openvlthinker, its local JSON",
        "openvlthinker",
        [THINKER | {"images": ["images/1.png"]}],
        [THINKER_ROW],
        suffix=".json",
        media={"images/1.png": RED},
    ),
    Case(
        "messages, images within them as chats and as LlamaFactory's v1 write them, or in a column",
        "messages",
        [
            chat({"type": "image", "image": "1.png"}, {"type": "text", "text": "What is it?"}),
            chat({"type": "image_url", "image_url": {"url": "1.png"}}, {"type": "text", "text": "What is it?"}),
            chat({"type": "image_url", "value": "1.png"}, {"type": "text", "value": "What is it?"}),
            chat({"type": "image"}, {"type": "text", "text": "What is it?"}) | {"image_path": "1.png"},
        ],
        [answer("<image>What is it?", "A square.", RED)] * 4,
        suffix=".jsonl",
        media={"1.png": RED},
    ),
]
