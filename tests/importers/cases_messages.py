# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Rankings, videos, message lists and plain layouts: MM-RLHF, Uni-DPO, POVID, TRL, plain_*, vlquery_json."""

from __future__ import annotations

import json
from typing import Any

from importers.case import Case, answer, pair, picture

RED, BLUE, GREEN = picture(1, "JPEG"), picture(2), picture(3)
FRAMES = [picture(number, "JPEG") for number in range(12)]
VIDEO = {f"video/v1/frame_{number}.jpg": frame for number, frame in enumerate(FRAMES)}
SPACED = [FRAMES[number] for number in (0, 1, 2, 3, 4, 6, 7, 8, 9, 11)]  # ten of twelve, 10 after 9 and not after 1

BETTER_WORSE = {"chosen": "A red bus.", "rejected": "A red bus and a dog."}
ANSWERS = tuple(BETTER_WORSE.values())
SCORED = {"pref_loss": "uni_dpo"}
REWARDED = {"rewards": [{"name": "length", "max_length": 9}], "num_generations": 2, "max_new_tokens": 4}
LONG = {"cutoff_len": 2048}  # the frames of a film are some 700 tokens

MM_PAIRS = [
    BETTER_WORSE | {"prompt": "<image>What is it?", "image": "short/1.jpg", "ls_factor": 0.5, "chosen_reason": "true"},
    BETTER_WORSE | {"prompt": "<image>\nWhat differs?", "image": ["short/1.jpg", "long/2.png"], "is_tie": False},
    BETTER_WORSE | {"prompt": "<image>\nWhat happens?", "video": "video/v1"},
    BETTER_WORSE | {"prompt": "Which one?", "image": "short/1.jpg", "is_tie": True},
]
MM_IMAGES = {"short/1.jpg": RED, "long/2.png": BLUE}


def below_mm_rlhf(media: dict[str, bytes]) -> dict[str, bytes]:
    return {f"MM-RLHF/{name}": data for name, data in media.items()}


def ranked(chosen: str, rejected: str, ranks: tuple[float, float], **columns: Any) -> dict[str, Any]:
    media = {"images": [RED], "videos": []} | columns
    question = "<video>Which is it?" if media["videos"] else "<image>Which is it?"
    ranks_of = {"rank_chosen": ranks[0], "rank_rejected": ranks[1]}
    return pair(question, chosen, rejected, **({"id": "7"} | media | ranks_of))


MM_RANKED = {"id": 7, "question": "Which is it?", "answer": "", "image": "short/1.jpg", "video": None}
# as parquet and `datasets` have it: every model's name in every row
BY_MODEL = {
    "models_output": {"a": "best", "b": "middle", "c": "also middle", "d": None},
    "final_ranking": {"a": "1", "b": "2", "c": "2", "d": None},
}
AS_LISTS = {"models_output": ["worse", "better"], "final_ranking": [2, 1]}


def uni(scores: tuple[float, float], **row: Any) -> dict[str, Any]:
    return BETTER_WORSE | {"score_chosen": scores[0], "score_rejected": scores[1]} | row


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


def assistant(content: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": content}


def parts(*texts: str) -> list[dict[str, Any]]:
    """A content as TRL's vision sets have it, in columns of arrow: both keys in each part."""
    return [
        {"type": "image" if text == "<image>" else "text", "text": None if text == "<image>" else text}
        for text in texts
    ]


BOXED = "Please reason step by step, and put your final answer within \\boxed{}."
QUESTION = "What does <|im_start|> stand for, and <|im_end|>? Let's think step by step."
CHATML = f"<|im_start|>system\n{BOXED}<|im_end|>\n<|im_start|>user\n{QUESTION}<|im_end|>\n<|im_start|>assistant\n"
AGAIN = "<|im_start|>user\n1 + 1?<|im_end|>\n<|im_start|>assistant\n2<|im_end|>\n<|im_start|>user\nSure?<|im_end|>\n"


def talk(*turns: tuple[str, str], **columns: Any) -> dict[str, Any]:
    """A pair's row of the output that has several turns."""
    return pair("", *ANSWERS, **columns) | {"conversations": [{"from": role, "value": text} for role, text in turns]}


def llava(said: str) -> list[dict[str, str]]:
    return [{"from": "human", "value": "<image>\nDescribe this image."}, {"from": "gpt", "value": said}]


CASES = [
    Case(
        "mm_rlhf, pairs about an image, two images and a folder of frames",
        "mm_rlhf",
        MM_PAIRS,
        [
            pair("<image>What is it?", *ANSWERS, RED, ls_factor=0.5, videos=[]),
            pair("<image><image>What differs?", *ANSWERS, RED, BLUE, ls_factor=None, videos=[]),
            pair("<video>What happens?", *ANSWERS, images=[], ls_factor=None, videos=[SPACED]),
        ],
        suffix=".jsonl",
        media=MM_IMAGES | VIDEO,
        file="dpo_pairs",
        recipe=LONG,
    ),
    Case(
        "mm_rlhf, pairs with paths of another machine, all frames",
        "mm_rlhf",
        [row | {key: f"/data/MM-RLHF/{row[key]}" for key in ("image", "video") if key in row} for row in MM_PAIRS[2:]],
        [pair("<video>What happens?", *ANSWERS, videos=[FRAMES])],
        suffix=".jsonl",
        media=below_mm_rlhf(VIDEO),
        flags=("--image-root", "{folder}/MM-RLHF", "--frames", "0"),
        recipe=LONG,
    ),
    Case(
        "mm_rlhf, all pairs of rankings",
        "mm_rlhf",
        [MM_RANKED | BY_MODEL, MM_RANKED | {"image": None, "video": "video/v1"} | AS_LISTS],
        [
            ranked("best", "middle", (1, 2)),
            ranked("best", "also middle", (1, 2)),
            ranked("better", "worse", (1, 2), images=[], videos=[[FRAMES[0], FRAMES[11]]]),
        ],
        suffix=".jsonl",
        media=MM_IMAGES | VIDEO,
        flags=("--frames", "2"),
    ),
    Case(
        "mm_rlhf, parquet with rankings as JSON text: the best and the worst",
        "mm_rlhf",
        [MM_RANKED | {key: json.dumps(value) for key, value in BY_MODEL.items()}, MM_RANKED | {"id": 8}],
        [{k: v for k, v in ranked("best", "also middle", (1, 2)).items() if k != "videos"}],
        media=below_mm_rlhf(MM_IMAGES),
        flags=("--pairs", "best_worst", "--image-root", "{folder}/MM-RLHF"),
    ),
    Case(
        "uni_dpo, multimodal, with paths of two other machines",
        "uni_dpo",
        [
            uni((4.5, 2.0), instruction="<image>What is it?", images=["/mnt/sets/MM-RLHF/short/1.jpg"]),
            uni((3, 1), instruction="<image>And this?", images=["D:\\sets\\MM-RLHF\\long\\2.png"]),
        ],
        [
            pair("<image>What is it?", *ANSWERS, RED, score_chosen=4.5, score_rejected=2.0),
            pair("<image>And this?", *ANSWERS, BLUE, score_chosen=3.0, score_rejected=1.0),
        ],
        suffix=".json",
        media=below_mm_rlhf(MM_IMAGES),
        flags=("--image-root", "{folder}/MM-RLHF"),
        recipe=SCORED,
    ),
    Case(
        "uni_dpo, textual",
        "uni_dpo",
        [
            {
                "prompt": "What is it?",
                "messages": [user("What is it?"), assistant(ANSWERS[0])],
                "chosen": [user("What is it?"), assistant(ANSWERS[0])],
                "rejected": [user("What is it?"), assistant(ANSWERS[1])],
                "score_chosen": 8.0,
                "score_rejected": 2.5,
            }
        ],
        [pair("What is it?", *ANSWERS, score_chosen=8.0, score_rejected=2.5)],
        suffix=".jsonl",
        recipe=SCORED,
    ),
    Case(
        "uni_dpo, mathematics",
        "uni_dpo",
        [
            uni((9.5, 3), prompt=CHATML, score_margin=6.5, correct_chosen=True, correct_rejected=False),
            uni((7.0, 0.5), prompt=AGAIN + "<|im_start|>assistant\n"),
        ],
        [
            talk(("system", BOXED), ("human", QUESTION), score_chosen=9.5, score_rejected=3.0),
            talk(("human", "1 + 1?"), ("gpt", "2"), ("human", "Sure?"), score_chosen=7.0, score_rejected=0.5),
        ],
        suffix=".jsonl",
        flags=("--kind", "math"),
        recipe=SCORED,
    ),
    Case(
        "povid",
        "povid",
        [
            {
                "id": "COCO_train2014_000000353952",
                "image": "./data/coco/COCO_train2014_000000353952.jpg",
                "conversations": llava(ANSWERS[0]),
                "rejected_conversations": llava(ANSWERS[1]),
            }
        ],
        [pair("<image>\nDescribe this image.", *ANSWERS, RED, id="COCO_train2014_000000353952")],
        suffix=".json",
        media={"train2014/COCO_train2014_000000353952.jpg": RED},
        flags=("--image-root", "{folder}/train2014"),
    ),
    Case(
        "trl, parquet: messages of parts, embedded images",
        "trl",
        [
            {
                "images": [{"bytes": RED, "path": None}, {"bytes": BLUE, "path": None}],
                "prompt": [user(parts("Is this", "<image>", " or this ", "<image>", "it?"))],
                "chosen": [assistant(parts(ANSWERS[0]))],
                "rejected": [assistant(parts(ANSWERS[1]))],
            }
        ],
        [pair("Is this<image> or this <image>it?", *ANSWERS, RED, BLUE)],
    ),
    Case(
        "trl, jsonl: an implicit prompt with a system turn, one image, scores",
        "trl",
        [
            {
                "image": "1.jpg",
                "chosen": [{"role": "system", "content": "Be brief."}, user("What is it?"), assistant(ANSWERS[0])],
                "rejected": [{"role": "system", "content": "Be brief."}, user("What is it?"), assistant(ANSWERS[1])],
                "score_chosen": 4,
                "score_rejected": "1.5",
            }
        ],
        [
            talk(
                ("system", "Be brief."),
                ("human", "<image>What is it?"),
                images=[RED],
                score_chosen=4.0,
                score_rejected=1.5,
            )
        ],
        suffix=".jsonl",
        media={"1.jpg": RED},
        recipe=SCORED,
    ),
    Case(
        "trl, json: an explicit prompt that the answers repeat, images within the messages, text alone",
        "trl",
        [
            {
                "prompt": [user([{"type": "image", "image": "1.jpg"}, {"type": "text", "text": "What is it?"}])],
                "chosen": [user([{"type": "image", "image": "1.jpg"}, {"type": "text", "text": "What is it?"}])]
                + [assistant(ANSWERS[0])],
                "rejected": [user([{"type": "image", "image": "1.jpg"}, {"type": "text", "text": "What is it?"}])]
                + [assistant(ANSWERS[1])],
            },
            BETTER_WORSE | {"prompt": "Say something."},
        ],
        [pair("<image>What is it?", *ANSWERS, RED), pair("Say something.", *ANSWERS, images=[])],
        suffix=".json",
        media={"1.jpg": RED},
    ),
    Case(
        "ms_swift, jsonl: an answer, messages and a dialogue that were rejected; query and response; scores",
        "ms_swift",
        [
            {
                "messages": [user("<image>What is it?"), assistant(ANSWERS[0])],
                "rejected_response": ANSWERS[1],
                "images": ["1.jpg"],
                "chosen_score": 4,
                "rejected_score": 1.5,
            },
            {
                "messages": [user("Say something."), assistant(ANSWERS[0])],
                "rejected_response": [assistant(ANSWERS[1])],
                "chosen_score": 3,
                "rejected_score": 2,
            },
            {
                "messages": [user("Say more."), assistant(ANSWERS[0])],
                "rejected_messages": [user("Say more."), assistant(ANSWERS[1])],
                "chosen_score": 3,
                "rejected_score": 2,
            },
            {
                "system": "Be brief.",
                "history": [["Hello", "Hi"]],
                "query": "What is it?",
                "response": ANSWERS[0],
                "rejected_response": ANSWERS[1],
                "chosen_score": 3,
                "rejected_score": 2,
            },
        ],
        [
            pair("<image>What is it?", *ANSWERS, RED, score_chosen=4.0, score_rejected=1.5),
            pair("Say something.", *ANSWERS, images=[], score_chosen=3.0, score_rejected=2.0),
            pair("Say more.", *ANSWERS, images=[], score_chosen=3.0, score_rejected=2.0),
            talk(
                ("system", "Be brief."),
                ("human", "Hello"),
                ("gpt", "Hi"),
                ("human", "What is it?"),
                images=[],
                score_chosen=3.0,
                score_rejected=2.0,
            ),
        ],
        suffix=".jsonl",
        media={"1.jpg": RED},
        recipe=SCORED,
    ),
    Case(
        "messages: an image within an answer",
        "messages",
        [
            {
                "messages": [
                    user([{"type": "image", "image": "1.jpg"}, {"type": "text", "text": "Mark it."}]),
                    assistant([{"type": "text", "text": "Marked:"}, {"type": "image", "image": "2.png"}]),
                    user("And now?"),
                    assistant("Done."),
                ]
            }
        ],
        [
            {
                "conversations": [
                    {"from": "human", "value": "<image>Mark it."},
                    {"from": "gpt", "value": "Marked:<image>"},
                    {"from": "human", "value": "And now?"},
                    {"from": "gpt", "value": "Done."},
                ],
                "images": [RED, BLUE],
            }
        ],
        suffix=".jsonl",
        media={"1.jpg": RED, "2.png": BLUE},
    ),
    Case(
        "plain_dpo: usual names of pictures and scores",
        "plain_dpo",
        [
            BETTER_WORSE | {"image_path": "1.jpg", "prompt": "What is it?", "chosen_score": 4, "rejected_score": 1.5},
            BETTER_WORSE | {"img_path": "1.jpg", "prompt": "What is it?", "score_chosen": 4, "score_rejected": 1.5},
        ],
        [pair("<image>What is it?", *ANSWERS, RED, score_chosen=4.0, score_rejected=1.5)] * 2,
        suffix=".jsonl",
        media={"1.jpg": RED},
        recipe=SCORED,
    ),
    Case(
        "plain_dpo: a question",
        "plain_dpo",
        [BETTER_WORSE | {"image": {"bytes": RED, "path": "1.jpg"}, "image_name": "1.jpg", "question": "What is it?"}],
        [pair("<image>What is it?", *ANSWERS, RED)],
    ),
    Case(
        "plain_rl: embedded pictures",
        "plain_rl",
        [{"image": {"bytes": BLUE, "path": None}, "problem": "How many?", "solution": "<answer> 3 </answer>"}],
        [{"instruction": "<image>How many?", "images": [BLUE], "solution": "<answer> 3 </answer>"}],
        recipe=REWARDED,
    ),
    Case(
        "plain_rl: choices, a system prompt, and an answer under a name that means something elsewhere",
        "plain_rl",
        [
            {
                "question": "Which?",
                "image": "1.jpg",
                "image_id": 7,
                "choices": ["a", "b"],
                "output": "b",
                "system": "x",
            },
            {"question": "Say something.", "choices": ["c"], "output": "c"},
        ],
        [
            {
                "instruction": "<image>Which?",
                "images": [RED],
                "image_id": 7,
                "choices": ["a", "b"],
                "output": "b",
                "system": "x",
            },
            {
                "instruction": "Say something.",
                "images": [],
                "image_id": None,
                "choices": ["c"],
                "output": "c",
                "system": None,
            },
        ],
        suffix=".jsonl",
        media={"1.jpg": RED},
        recipe=REWARDED,
    ),
    Case(
        "plain_dpo",
        "plain_dpo",
        [BETTER_WORSE | {"image": "a/1.png", "prompt": "What is it?"}, BETTER_WORSE | {"prompt": "Say something."}],
        [pair("<image>What is it?", *ANSWERS, GREEN), pair("Say something.", *ANSWERS, images=[])],
        suffix=".json",
        media={"root/a/1.png": GREEN},
        flags=("--image-root", "{folder}/root"),
    ),
    Case(
        "vlquery_json",
        "vlquery_json",
        [
            {
                "image": "a/1.png",
                "conversations": [{"from": "user", "value": "What is it?"}, {"from": "assistant", "value": "A bus."}],
            },
            {"conversations": [{"from": "user", "value": "Hello?"}, {"from": "assistant", "value": "Hello."}]},
            {"image": "a/1.png", "conversations": llava("A bus.")},  # LLaVA's own sets, as LAION-CC-SBU
        ],
        [
            answer("<image>What is it?", "A bus.", GREEN),
            answer("Hello?", "Hello.", images=[]),
            answer("<image>\nDescribe this image.", "A bus.", GREEN),
        ],
        suffix=".json",
        media={"root/a/1.png": GREEN},
        flags=("--image-root", "{folder}/root"),
    ),
]
