# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Recipes whose completions come from servers: what is wrong with one, and the command that starts its servers."""

from __future__ import annotations

import re
import shlex

import pytest

from resonance.arguments import policy_checks
from resonance.arguments.policy import DEFAULTS
from resonance.arguments.policy_settings import as_urls
from resonance.arguments.serving import needs, serve_commands

URL = "http://127.0.0.1:8000"
SERVED = {"rollout_backend": "vllm", "rollout_url": URL}
GRPO = {"ppo_variant": "grpo", "rewards": [{"name": "length", "max_length": 5}]}
CORRECTED = {"rollout_correction": "token-truncate"}


def problems(**given):
    given = {**GRPO, **given}
    return policy_checks.problems(given, given)


@pytest.mark.parametrize(
    "given",
    [
        {},
        SERVED,
        {**SERVED, "rollout_url": [URL, "http://10.0.0.2:8000"]},
        {**SERVED, "rollout_url": f'["{URL}", "http://10.0.0.2:8000"]'},
        {**SERVED, **CORRECTED, "rollout_ahead": 1},
        {**SERVED, "temperature": 0.7},
        {**SERVED, "top_p": 0.9},
        {**SERVED, "finetuning_type": "lora", "adapter_name_or_path": "saves/one"},
    ],
)
def test_recipes_without_fault(given):
    assert problems(**given) == []


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"rollout_url": URL}, "rollout_url: is about a server; add `rollout_backend: vllm`"),
        ({"rollout_ahead": 1, **CORRECTED}, "rollout_ahead: is about a server"),
        ({"rollout_backend": "vlm"}, r"rollout_backend: 'vlm' is unknown \(nearest: vllm"),
        ({"rollout_backend": "vllm"}, "rollout_url: rollout_backend: vllm needs one, e.g."),
        ({**SERVED, "rollout_url": "localhost:8000"}, "rollout_url: 'localhost:8000' is not the URL of a server"),
        ({**SERVED, "rollout_url": "http://me:hush@host"}, r"rollout_url: a URL with a user.*\(http://host"),
        ({**SERVED, "rollout_url": [URL, URL + "/"]}, f"rollout_url: {URL} is given twice"),
        ({**SERVED, "rollout_url": [1]}, r"rollout_url: \[1\] is not a URL or a list of URLs"),
        ({**SERVED, "rollout_batch_size": 4}, "rollout_batch_size: rollout_backend: vllm takes any number"),
        ({**SERVED, "overlong": "cut_text"}, "overlong: cut_text shortens prompts"),
        ({**SERVED, "temperature": 0.7, "top_p": 0.9}, "top_p: 0.9: together with a temperature other than 1"),
        ({**SERVED, **CORRECTED, "rollout_ahead": 2}, "rollout_ahead: 2 is not allowed, it must be 0 or 1"),
        (
            {**SERVED, "rollout_ahead": 1},
            "rollout_ahead: .*needs a rollout_correction; add `rollout_correction: token",
        ),
        ({**SERVED, "rollout_timeout": 0}, "rollout_timeout: 0 is not allowed, it must be a finite number >= 1"),
        ({**SERVED, "rollout_concurrency": 0}, "rollout_concurrency: 0 is not allowed, it must be a whole number"),
        ({**SERVED, "finetuning_type": "oft"}, "finetuning_type: oft: a server can be given lora, full, freeze only"),
        ({**SERVED, "use_dora": True}, "use_dora: a server cannot load such adapters"),
        (
            {**SERVED, "adapter_name_or_path": "saves/one", "create_new_adapter": True},
            "adapter_name_or_path: saves/one would be merged into the policy's model.*llamafactory-cli export",
        ),
        ({**SERVED, "adapter_name_or_path": "a,b"}, "adapter_name_or_path: a would be merged"),
    ],
)
def test_faults(given, message):
    found = problems(**given)
    assert any(re.search(message, line) for line in found), found


def test_all_faults_at_once():
    found = problems(rollout_backend="vllm", rollout_ahead=1, overlong="cut_text", rollout_wait=-1)
    assert [line.partition(":")[0] for line in found] == [
        "rollout_wait",
        "rollout_url",
        "overlong",
        "rollout_ahead",
    ]


def test_no_secret_of_a_url_is_repeated():
    assert "hush" not in " ".join(problems(**{**SERVED, "rollout_url": "http://me:hush@host"}))


RECIPE = {
    **DEFAULTS,
    **SERVED,
    "model_name_or_path": "my models/qwen",
    "cutoff_len": 1024,
    "max_new_tokens": 256,
    "lora_rank": 12,
    "bf16": True,
}


def words(**changes):
    (command,) = serve_commands({**RECIPE, **changes})
    return shlex.split(command)


def option(found, name):
    return found[found.index(name) + 1]


def test_the_command_of_a_lora_recipe():
    found = words()
    assert found[:2] == ["VLLM_SERVER_DEV_MODE=1", "VLLM_ALLOW_RUNTIME_LORA_UPDATING=1"]
    assert found[2:5] == ["vllm", "serve", "my models/qwen"]
    expected = {"--host": "127.0.0.1", "--port": "8000", "--dtype": "bfloat16", "--max-model-len": "1280"}
    expected |= {"--max-lora-rank": "16", "--logprobs-mode": "raw_logprobs", "--generation-config": "vllm"}
    assert {name: option(found, name) for name in expected} == expected
    assert "--enable-tower-connector-lora" in words(freeze_vision_tower=False) and "--enable-lora" in found


def test_the_command_of_a_full_recipe():
    found = words(finetuning_type="full", temperature=0.7, bf16=False)
    assert "--enable-lora" not in found
    assert (option(found, "--logprobs-mode"), option(found, "--dtype")) == ("processed_logprobs", "float32")


def test_one_command_a_server():
    found = serve_commands({**RECIPE, "rollout_url": [URL, "http://10.0.0.2:9000"]})
    assert [option(shlex.split(one), "--host") for one in found] == ["127.0.0.1", "10.0.0.2"]


def test_what_a_recipe_needs_of_a_server():
    assert needs(RECIPE) == {"logprobs_mode": "raw_logprobs", "max_model_len": 1280, "max_lora_rank": 12}
    assert needs({**RECIPE, "finetuning_type": "full"})["max_lora_rank"] == 0


def test_urls_however_they_are_given():
    assert as_urls(f"{URL}/") == [URL] and as_urls(f'["{URL}"]') == [URL] and as_urls([URL]) == [URL]
