# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Rows that cannot be used, and the reason each gets: those of the importers in `cases_messages`."""

from __future__ import annotations

from importers.case import picture
from importers.cases_messages import assistant, uni, user
from importers.ugly_rated import Ugly

PAIR = {"chosen": "Yes.", "rejected": "No."}
MM = PAIR | {"prompt": "What?", "image": "1.png"}
RANKED = {"question": "What?", "image": "1.png"}
UNI = uni((4.0, 1.0), instruction="<image>What?", images=["1.png"])
MATH = uni((9.0, 1.0), prompt="<|im_start|>user\nWhat?<|im_end|>\n<|im_start|>assistant\n")
TRL = PAIR | {"prompt": [user("What?")]}
POVID = {
    "image": "1.png",
    "conversations": [{"from": "human", "value": "<image>\nWhat?"}, {"from": "gpt", "value": "Yes."}],
    "rejected_conversations": [{"from": "human", "value": "<image>\nWhat?"}, {"from": "gpt", "value": "No."}],
}
TALK = {"conversations": [{"from": "user", "value": "What?"}, {"from": "assistant", "value": "This."}]}

NOT_ONE_PROMPT = "chosen and rejected are not two answers to one prompt"
NOT_FITTING = "models_output and final_ranking do not fit together"
SWIFT = {"messages": [user("What?"), {"role": "assistant", "content": "Yes."}], "rejected_response": "No."}


UGLY = [
    Ugly(
        "an image that nothing names",
        {"messages": [user([{"type": "image"}, {"type": "text", "text": "What?"}]), SWIFT["messages"][1]]},
        "<image> does not match",
        "1 in the text, 0 in the row",
        "messages",
    ),
    Ugly(
        "a placeholder in the only answer",
        {"messages": [user("What?"), assistant("Write <image>.")], "images": ["1.png"]},
        "<image> in an answer",
        "it may be text",
        "messages",
    ),
    Ugly(
        "a placeholder in the system text",
        {"messages": [{"role": "system", "content": "<image>"}, user("What?"), assistant("A.")], "images": ["1.png"]},
        "<image> in the system text",
        "none there",
        "messages",
    ),
    Ugly(
        "two prompts that differ in an image",
        {
            side: [user([{"type": "image", "image": f"{side}.png"}]), assistant(side)]
            for side in ("chosen", "rejected")
        },
        "the two answers see different images",
        "1 and 1",
        "trl",
    ),
    Ugly("another set's row", {"question": "What?"}, "no column chosen or models_output", "question", "mm_rlhf"),
    Ugly("a tie", MM | {"is_tie": True}, "the two answers are ranked alike", "is_tie", "mm_rlhf"),
    Ugly("no media", PAIR | {"prompt": "What?"}, "neither image nor video", "prompt", "mm_rlhf"),
    Ugly("a video that is missing", PAIR | {"prompt": "?", "video": "video/2"}, "video missing", "video/2", "mm_rlhf"),
    Ugly("a folder without frames", PAIR | {"prompt": "?", "video": "empty"}, "a video without frames", "", "mm_rlhf"),
    Ugly("a video that is a number", PAIR | {"prompt": "?", "video": 3}, "a video is not a path", "3", "mm_rlhf"),
    Ugly(
        "a video path that climbs",
        PAIR | {"prompt": "What?", "video": "../video"},
        "image path climbs out of its folder",
        "../video",
        "mm_rlhf",
    ),
    Ugly("a factor that is no number", MM | {"ls_factor": "high"}, "ls_factor is not a number", "high", "mm_rlhf"),
    Ugly(
        "ranks for other answers",
        RANKED | {"models_output": ["a", "b"], "final_ranking": [1, 2, 3]},
        NOT_FITTING,
        "list and list",
        "mm_rlhf",
    ),
    Ugly(
        "an answer without a rank",
        RANKED | {"models_output": {"a": "x", "b": "y"}, "final_ranking": {"a": 1}},
        "a rank is not a number",
        "None",
        "mm_rlhf",
    ),
    Ugly(
        "one ranked answer",
        RANKED | {"models_output": {"a": "x", "b": None}, "final_ranking": {"a": 1, "b": None}},
        "fewer than two ranked answers",
        "1 of 2",
        "mm_rlhf",
    ),
    Ugly(
        "two answers of one rank",
        RANKED | {"models_output": ["a", "b"], "final_ranking": ["1", "1"]},
        "the two answers are ranked alike",
        "both have rank 1",
        "mm_rlhf",
    ),
    Ugly(
        "a ranking that is no JSON",
        RANKED | {"models_output": ["a", "b"], "final_ranking": "[1, "},
        "final_ranking is not JSON",
        "[1, ",
        "mm_rlhf",
    ),
    Ugly("a row of no kind", {"score_chosen": 1, "score_rejected": 0}, "no row of Uni-DPO", "score", "uni_dpo"),
    Ugly("no score", {k: v for k, v in UNI.items() if k != "score_chosen"}, "no column score_chosen", "", "uni_dpo"),
    Ugly("a score that is null", UNI | {"score_rejected": None}, "score_rejected is not a number", "None", "uni_dpo"),
    Ugly("a score that is true", UNI | {"score_chosen": True}, "score_chosen is not a number", "True", "uni_dpo"),
    Ugly(
        "a score that is NaN", UNI | {"score_chosen": float("nan")}, "score_chosen is not a number", "nan", "uni_dpo"
    ),
    Ugly(
        "a prompt without a template", MATH | {"prompt": "What?"}, "the prompt is no ChatML text", "What?", "uni_dpo"
    ),
    Ugly(
        "a prompt that begins the answer",
        MATH | {"prompt": MATH["prompt"] + "Sure"},
        "the prompt does not end where the answer begins",
        "Sure",
        "uni_dpo",
    ),
    Ugly(
        "a template without a question",
        MATH | {"prompt": "<|im_start|>assistant\n"},
        "the turns are not user, assistant, ... in order",
        "the user's question last",
        "uni_dpo",
    ),
    Ugly("another kind than --kind", MATH, "no column instruction", "prompt", "uni_dpo", ("--kind", "multimodal")),
    Ugly(
        "two questions",
        {"chosen": [user("What?"), assistant("Yes.")], "rejected": [user("Who?"), assistant("No.")]},
        NOT_ONE_PROMPT,
        "2 and 2",
        "trl",
    ),
    Ugly("no answer", {"chosen": [user("What?")], "rejected": [user("What?")]}, NOT_ONE_PROMPT, "1 and 1", "trl"),
    Ugly("empty lists", TRL | {"chosen": [], "rejected": []}, NOT_ONE_PROMPT, "0 and 0", "trl"),
    Ugly("no prompt", PAIR, "there is no prompt", "", "trl"),
    Ugly(
        "an unknown role",
        TRL | {"prompt": [{"role": "tool", "content": "x"}]},
        "a message of prompt has an unknown role",
        "'tool'",
        "trl",
    ),
    Ugly("a content that is null", TRL | {"prompt": [user(None)]}, "a message of prompt has no text", "None", "trl"),
    Ugly(
        "a part that is a sound",
        TRL | {"prompt": [user([{"type": "audio", "audio": "a.wav"}])]},
        "a message of prompt holds a part that is not known",
        "audio",
        "trl",
    ),
    Ugly("a prompt that is a number", TRL | {"prompt": 5}, "prompt is no list of messages", "5", "trl"),
    Ugly(
        "a marked place without an image",
        TRL | {"prompt": [user([{"type": "image"}, {"type": "text", "text": "What?"}])]},
        "<image> does not match",
        "1 in the text, 0",
        "trl",
    ),
    Ugly(
        "conversations that differ early",
        POVID | {"rejected_conversations": TALK["conversations"]},
        NOT_ONE_PROMPT,
        "2 and 2",
        "povid",
    ),
    Ugly(
        "a climb below the marker",
        POVID | {"image": "data/coco/../../1.png"},
        "image path climbs out of its folder",
        "",
        "povid",
    ),
    Ugly(
        "an answer that is a list", PAIR | {"prompt": "?", "chosen": ["a"]}, "chosen is not text", "list", "plain_dpo"
    ),
    Ugly(
        "a score of 400 digits",
        PAIR | {"prompt": "?", "score_chosen": 10**400, "score_rejected": 1},
        "score_chosen is not a number",
        "1000",
        "plain_dpo",
    ),
    Ugly(
        "other images for the rejected answer",
        SWIFT | {"rejected_images": ["1.png"]},
        "the two answers see different images",
        "1.png",
        "ms_swift",
    ),
    Ugly("messages that are text", SWIFT | {"messages": "Hi"}, "messages is no list of messages", "'Hi'", "ms_swift"),
    Ugly(
        "nothing rejected",
        SWIFT | {"rejected_response": None},
        "no column rejected_messages or rejected_response",
        "messages",
        "ms_swift",
    ),
    Ugly(
        "conversations that are text",
        {"conversations": "Hi"},
        "conversations is no list of messages",
        "'Hi'",
        "vlquery_json",
    ),
    Ugly(
        "a conversation that ends with the user",
        {"conversations": TALK["conversations"][:1]},
        "the turns are not user, assistant, ... in order",
        "the answer last",
        "vlquery_json",
    ),
]
SOUND_ROWS = {
    "mm_rlhf": MM,
    "messages": {"messages": SWIFT["messages"]},
    "ms_swift": SWIFT,
    "uni_dpo": UNI,
    "trl": TRL,
    "povid": POVID,
    "plain_dpo": PAIR | {"prompt": "What?"},
    "vlquery_json": TALK,
}
MEDIA = {"1.png": picture(1), "video/notes.txt": b"", "empty/notes.txt": b""}
