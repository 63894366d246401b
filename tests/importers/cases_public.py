# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Public sets that have files of their own, prompts for rewards, and the layouts of other trainers."""

from __future__ import annotations

from typing import Any

from importers.case import Case, answer, pair, picture
from importers.cases_messages import ANSWERS, BETTER_WORSE, REWARDED, SCORED, assistant, llava, talk, user
from resonance.importers.ha_dpo import QUESTIONS

RED, BLUE, GREEN = picture(1, "JPEG"), picture(2), picture(3)
MMPR_META = (
    '{"dogs": {"root": "MMPR-v1.2/images/dogs/", "annotation": "MMPR-v1.2/annotations/dogs.jsonl", "repeat_time": 1},'
    ' "text": {"root": "", "annotation": "MMPR-v1.2/annotations/text.jsonl", "repeat_time": 0.5}}'
)
MMPR_TEXT = (
    b'{"image": null, "question": "Say something.", "chosen": "A red bus.", "rejected": "A red bus and a dog."}\n'
)
SPOKEN = [
    {"from": "human", "value": "What is it?\n<image>"},
    {"from": "gpt", "value": "A bus."},
    {"from": "human", "value": "Which colour?"},
    {"from": "gpt", "value": "The reference answer."},
]
OUTPUTS = {f"output_{number}": {"from": "llava", "value": text} for number, text in enumerate(ANSWERS, 1)}
SWAPPED = {"output_1": OUTPUTS["output_2"], "output_2": OUTPUTS["output_1"]}
BEAVER = {
    "question": "Is it safe?",
    "image": {"bytes": RED, "path": None},
    "category": "animal_abuse",
    "response_1": ANSWERS[1],
    "response_2": ANSWERS[0],
    "more_helpful_response_id": 2,
    "safer_response_id": 1,
    "response_1_helpful_rate": 1,
    "response_2_helpful_rate": 3,
    "response_1_harmless_rate": 2,
    "response_2_harmless_rate": -1,
}


def prompt(asked: str, *images: bytes, **columns: Any) -> dict[str, Any]:
    """A row of the output that is a prompt alone."""
    return {"instruction": asked} | ({"images": list(images)} if images else {}) | columns


PAIRS = [
    Case(
        "spa_vl, parquet",
        "spa_vl",
        [BETTER_WORSE | {"image": {"bytes": RED, "path": None}, "question": "What is it?", "class1": "Toxicity"}],
        [pair("<image>What is it?", *ANSWERS, RED)],
    ),
    Case(
        "llava_rlhf: a dialogue that ends with a reference answer, and one that does not",
        "llava_rlhf",
        [
            OUTPUTS | {"id": "1", "image": "1.jpg", "conversations": SPOKEN, "preference": 1, "hallucination": True},
            SWAPPED | {"id": "2", "image": "2.jpg", "conversations": llava("")[:1], "preference": 2},
        ],
        [
            talk(
                ("human", "What is it?\n<image>"),
                ("gpt", "A bus."),
                ("human", "Which colour?"),
                images=[RED],
                id="1",
                hallucination="True",
            ),
            pair("<image>\nDescribe this image.", *ANSWERS, RED, id="2", hallucination=None),
        ],
        suffix=".json",
        media={"COCO/1.jpg": RED, "COCO/train2014/COCO_train2014_2.jpg": RED},
        flags=("--image-root", "{folder}/COCO"),
    ),
    Case(
        "ha_dpo, descriptions by image: all pairs",
        "ha_dpo",
        {"7": {"chosen": [ANSWERS[0], "A bus."], "rejected": [ANSWERS[1]]}},
        [
            pair(f"<image>{QUESTIONS[2]}", *ANSWERS, RED, image_id="7"),
            pair(f"<image>{QUESTIONS[1]}", "A bus.", ANSWERS[1], RED, image_id="7"),
        ],
        suffix=".json",
        file="desc_data",
        media={"VG/VG_100K_2/7.jpg": RED},
        flags=("--image-root", "{folder}/VG", "--pairs", "all", "--seed", "1"),
    ),
    Case(
        "ha_dpo, questions: those that were answered right are left out",
        "ha_dpo",
        [
            {"image_id": 7, "question": "Is it?", "answer": "no", "chosen": "No.", "reject": "Yes.", "correct": False},
            {"image_id": 7, "question": "Is it?", "answer": "no", "chosen": "No.", "reject": "No.", "correct": True},
        ],
        [pair("<image>Is it?", "No.", "Yes.", RED, image_id="7")],
        suffix=".json",
        file="pope_data",
        media={"VG_100K/7.jpg": RED},
    ),
    Case(
        "hsa_dpo: how severe faults are is no score",
        "hsa_dpo",
        [BETTER_WORSE | {"id": 0, "question": "What is it?", "chosen_score": 0, "rejected_score": 2.5}],
        [pair("<image>What is it?", *ANSWERS, RED, id="0", severity_chosen=0.0, severity_rejected=2.5)],
        suffix=".jsonl",
        media={"images/0.jpg": RED},
        flags=("--image-root", "{folder}/images"),
    ),
    Case(
        "beavertails_v, parquet: by help",
        "beavertails_v",
        [BEAVER],
        [pair("<image>Is it safe?", *ANSWERS, RED, score_chosen=3.0, score_rejected=1.0, category="animal_abuse")],
        recipe=SCORED,
    ),
    Case(
        "beavertails_v: by harm, without ratings",
        "beavertails_v",
        [{name: value for name, value in BEAVER.items() if "harmless" not in name}],
        [pair("<image>Is it safe?", *reversed(ANSWERS), RED, category="animal_abuse")],
        flags=("--by", "harmless"),
    ),
    Case(
        "mmpr, one file: no image, one, and two",
        "mmpr",
        [
            BETTER_WORSE | {"image": "1.jpg", "question": "<image>\nWhat is it?"},
            BETTER_WORSE | {"image": ["1.jpg", "2.png"], "question": "Image-1: <image>\nImage-2: <image>\nAlike?"},
            BETTER_WORSE | {"question": "Say something."},
        ],
        [
            pair("<image>\nWhat is it?", *ANSWERS, RED),
            pair("Image-1: <image>\nImage-2: <image>\nAlike?", *ANSWERS, RED, BLUE),
            pair("Say something.", *ANSWERS, images=[]),
        ],
        suffix=".jsonl",
        media={"1.jpg": RED, "2.png": BLUE},
    ),
    Case(
        "mmpr, meta.json: the folder of each file's images",
        "mmpr",
        [BETTER_WORSE | {"image": "1.jpg", "question": "What is it?"}],
        [pair("<image>What is it?", *ANSWERS, RED), pair("Say something.", *ANSWERS, images=[])],
        suffix=".jsonl",
        file="annotations/dogs",
        given="meta.json",
        media={"meta.json": MMPR_META.encode(), "images/dogs/1.jpg": RED, "annotations/text.jsonl": MMPR_TEXT},
    ),
    Case(
        "openrlhf: an input of messages with a margin, a question in text, and answers that repeat the prompt",
        "openrlhf",
        [
            {
                "input": [{"role": "system", "content": "Be brief."}, user("What is it?")],
                "chosen": [assistant(ANSWERS[0])],
                "rejected": [assistant(ANSWERS[1])],
                "images": ["1.jpg"],
                "margin": 1,
            },
            BETTER_WORSE | {"question": "Say something."},
            {
                "chosen": [user("Say more."), assistant(ANSWERS[0])],
                "rejected": [user("Say more."), assistant(ANSWERS[1])],
            },
        ],
        [
            talk(("system", "Be brief."), ("human", "<image>What is it?"), images=[RED], margin=1.0),
            pair("Say something.", *ANSWERS, images=[], margin=None),
            pair("Say more.", *ANSWERS, images=[], margin=None),
        ],
        suffix=".jsonl",
        media={"1.jpg": RED},
    ),
    Case(
        "axolotl: answers that are text, a message, and messages that repeat the prompt; LLaVA's conversations",
        "axolotl",
        [
            BETTER_WORSE | {"messages": [user("What is it?")], "images": ["1.jpg"]},
            {
                "messages": [{"role": "system", "content": "Be brief."}, user("Say something.")],
                "chosen": assistant(ANSWERS[0]),
                "rejected": assistant(ANSWERS[1]),
            },
            {
                "messages": [user("Say more.")],
                "chosen": [user("Say more."), assistant(ANSWERS[0])],
                "rejected": [user("Say more."), assistant(ANSWERS[1])],
            },
            BETTER_WORSE | {"conversations": llava("")[:1], "image": "1.jpg"},
        ],
        [
            pair("<image>What is it?", *ANSWERS, RED),
            talk(("system", "Be brief."), ("human", "Say something."), images=[]),
            pair("Say more.", *ANSWERS, images=[]),
            pair("<image>\nDescribe this image.", *ANSWERS, RED),
        ],
        suffix=".jsonl",
        media={"1.jpg": RED},
    ),
    Case(
        "vlguard: an unsafe image, and a safe one with two instructions",
        "vlguard",
        [
            {
                "id": "a",
                "image": "bad/1.jpg",
                "safe": False,
                "harmful_category": "privacy",
                "instr-resp": [{"instruction": "Share it.", "response": "I cannot."}],
            },
            {
                "id": "b",
                "image": "bad/1.jpg",
                "safe": True,
                "instr-resp": [
                    {"safe_instruction": "What is it?", "response": "A bus."},
                    {"unsafe_instruction": "Who is it?", "response": "I cannot tell."},
                ],
            },
        ],
        [
            answer("<image>Share it.", "I cannot.", RED, id="a", safe="False", harmful_category="privacy"),
            answer("<image>What is it?", "A bus.", RED, id="b", safe="True", harmful_category=None),
            answer("<image>Who is it?", "I cannot tell.", RED, id="b", safe="True", harmful_category=None),
        ],
        suffix=".json",
        file="train",
        media={"train/bad/1.jpg": RED},
        flags=("--image-root", "{folder}/train"),
    ),
]
PROMPTS = [
    Case(
        "verl, parquet: messages, embedded images, the answer in an object",
        "verl",
        [
            {
                "data_source": "hiyouga/geometry3k",
                "prompt": [{"role": "system", "content": "Think."}, user("<image>How long is AB?")],
                "images": [{"bytes": BLUE, "path": None}],
                "ability": "math",
                "reward_model": {"style": "rule", "ground_truth": "3"},
                "extra_info": {"split": "train", "index": 0, "answer": "3"},
            }
        ],
        [
            prompt(
                "<image>How long is AB?",
                BLUE,
                system="Think.",
                ground_truth="3",
                extra_info='{"split": "train", "index": 0, "answer": "3"}',
                data_source="hiyouga/geometry3k",
                ability="math",
            )
        ],
        recipe=REWARDED,
    ),
    Case(
        "plain_rl: a prompt of messages with an image within",
        "plain_rl",
        [
            {
                "prompt": [user([{"type": "image", "image": "1.jpg"}, {"type": "text", "text": "How many?"}])],
                "system_prompt": "Think.",
                "solution": "3",
            }
        ],
        [prompt("<image>How many?", RED, system="Think.", solution="3")],
        suffix=".jsonl",
        media={"1.jpg": RED},
        recipe=REWARDED,
    ),
    Case(
        "geometry3k, parquet",
        "geometry3k",
        [{"images": [{"bytes": BLUE, "path": None}], "problem": "<image>Find x.", "answer": "3"}],
        [prompt("<image>Find x.", BLUE, answer="3")],
        recipe=REWARDED,
    ),
    Case(
        "clevr_count, parquet",
        "clevr_count",
        [{"image": {"bytes": BLUE, "path": "a.png"}, "problem": "How many?", "solution": "<answer> 3 </answer>"}],
        [prompt("<image>How many?", BLUE, solution="<answer> 3 </answer>")],
        recipe=REWARDED,
    ),
    Case(
        "thinklite, parquet: bytes",
        "thinklite",
        [{"id": "1", "image": BLUE, "problem": "Which?", "answer": "B", "choices": ["a", "b"], "ground_truth": "b"}],
        [prompt("<image>Which?", BLUE, id="1", answer="B", choices=["a", "b"], ground_truth="b")],
        recipe=REWARDED,
    ),
    Case(
        "virl39k, parquet: paths in an archive",
        "virl39k",
        [
            {
                "qid": "q1",
                "question": "Which? <image>",
                "answer": "\\boxed{B}",
                "image": ["images/1.jpg"],
                "source": "M",
            }
        ],
        [prompt("Which? <image>", RED, qid="q1", answer="\\boxed{B}", source="M")],
        media={"images/1.jpg": RED},
        recipe=REWARDED,
    ),
    Case(
        "mmk12, parquet",
        "mmk12",
        [{"id": "1", "question": "Which?", "answer": "B", "subject": "math", "image": {"bytes": RED, "path": None}}],
        [prompt("<image>Which?", RED, id="1", answer="B", subject="math")],
        recipe=REWARDED,
    ),
    Case(
        "mm_eureka: conversations with paths beside, a message with the image within",
        "mm_eureka",
        [
            {
                "id": "0",
                "conversations": [{"role": "system", "content": "Think."}, user("How many? <image>")],
                "answer": "3",
                "image_urls": ["1.jpg"],
            },
            {
                "id": "1",
                "message": '[{"role": "user", "content": [{"type": "image", "image": "1.jpg"}, '
                '{"type": "text", "text": "How many?"}]}]',
                "answer": "4",
            },
        ],
        [
            prompt("How many? <image>", RED, system="Think.", answer="3", id="0"),
            prompt("<image>How many?", RED, system=None, answer="4", id="1"),
        ],
        suffix=".jsonl",
        media={"1.jpg": RED},
        recipe=REWARDED,
    ),
]
CASES = [*PAIRS, *PROMPTS]
