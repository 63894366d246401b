# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Rows that cannot be used, and the reason each gets: those of the importers in `cases_public`."""

from __future__ import annotations

from importers.case import picture
from importers.cases_messages import assistant, llava, user
from importers.ugly_rated import Ugly

PAIR = {"chosen": "Yes.", "rejected": "No."}
OUTPUTS = {"output_1": {"from": "llava", "value": "Yes."}, "output_2": {"from": "llava", "value": "No."}}
RLHF = OUTPUTS | {"image": "1.png", "conversations": llava("")[:1], "preference": 1}
VLGUARD = {"id": "a", "image": "1.png", "instr-resp": [{"instruction": "What?", "response": "This."}]}
BEAVER = {
    "question": "What?",
    "image": "1.png",
    "response_1": "Yes.",
    "response_2": "No.",
    "more_helpful_response_id": 1,
    "response_1_helpful_rate": 2,
    "response_2_helpful_rate": 1,
}
HA = {"image_id": 1, "chosen": ["Yes."], "rejected": ["No."]}
HSA = PAIR | {"id": 1, "question": "What?", "chosen_score": 0, "rejected_score": 1, "image": "1.png"}
MMPR = PAIR | {"image": "1.png", "question": "What?"}
AXOLOTL = PAIR | {"messages": [user("What?")]}
VERL = {"prompt": [user("What?")], "reward_model": {"ground_truth": "3"}}
EUREKA = {"conversations": [user("What?")], "answer": "3"}

UGLY = [
    Ugly("no preference", RLHF | {"preference": 3}, "no answer is preferred", "preference is 3", "llava_rlhf"),
    Ugly("an output that is text", RLHF | {"output_1": "x"}, "output_1 is not a message", "'x'", "llava_rlhf"),
    Ugly(
        "instructions that are text",
        VLGUARD | {"instr-resp": "x"},
        "instr-resp is no list of instructions",
        "'x'",
        "vlguard",
    ),
    Ugly(
        "an instruction under another name",
        VLGUARD | {"instr-resp": [{"question": "What?", "response": "This."}]},
        "no column instruction or safe_instruction or unsafe_instruction",
        "question, response",
        "vlguard",
    ),
    Ugly(
        "a decline that is empty",
        VLGUARD | {"instr-resp": [{"instruction": "What?", "response": ""}]},
        "empty assistant text",
        "",
        "vlguard",
    ),
    Ugly("a tie", BEAVER | {"more_helpful_response_id": 0}, "no answer is preferred", "is 0", "beavertails_v"),
    Ugly(
        "a rating that is no number",
        BEAVER | {"response_1_helpful_rate": "good"},
        "response_1_helpful_rate is not a number",
        "good",
        "beavertails_v",
    ),
    Ugly("an answer that is text", HA | {"chosen": "Yes."}, "chosen is no list of answers", "'Yes.'", "ha_dpo"),
    Ugly("an answer that is a number", HA | {"rejected": [1]}, "a text is not text", "int", "ha_dpo"),
    Ugly("an image that is not there", HA | {"image_id": 2}, "image missing", "VG_100K/2.jpg", "ha_dpo"),
    Ugly("a severity that is text", HSA | {"rejected_score": "high"}, "rejected_score is not a number", "", "hsa_dpo"),
    Ugly("no image and no number", {**HSA, "image": None, "id": None}, "no column id", "", "hsa_dpo"),
    Ugly(
        "more images than places",
        MMPR | {"image": ["1.png", "1.png"], "question": "<image>What?"},
        "<image> does not match",
        "1 in the text, 2 in the row",
        "mmpr",
    ),
    Ugly(
        "an image in one answer",
        AXOLOTL | {"chosen": assistant([{"type": "image", "image": "1.png"}]), "rejected": assistant("No.")},
        "<image> in an answer",
        "",
        "axolotl",
    ),
    Ugly("a prompt that is a number", AXOLOTL | {"messages": 3}, "prompt is no list of messages", "3", "axolotl"),
    Ugly(
        "a margin that is text", PAIR | {"input": "?", "margin": "wide"}, "margin is not a number", "wide", "openrlhf"
    ),
    Ugly("an answer that is text alone", VERL | {"reward_model": "3"}, "reward_model is not an object", "int", "verl"),
    Ugly(
        "two questions",
        VERL | {"prompt": [user("What?"), assistant("This."), user("Sure?")]},
        "more than one question",
        "3 turns",
        "verl",
    ),
    Ugly("a message that is no JSON", {"message": "[", "answer": "3"}, "conversations is not JSON", "[", "mm_eureka"),
]
SOUND_ROWS = {
    "llava_rlhf": RLHF,
    "vlguard": VLGUARD,
    "beavertails_v": BEAVER,
    "ha_dpo": HA,
    "hsa_dpo": HSA,
    "mmpr": MMPR,
    "axolotl": AXOLOTL,
    "openrlhf": PAIR | {"input": "What?"},
    "verl": VERL,
    "mm_eureka": EUREKA,
}
MEDIA = {"VG_100K/1.jpg": picture(1, "JPEG")}
