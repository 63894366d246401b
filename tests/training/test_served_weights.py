# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Weights as servers are given them, and whether they answer with these."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from resonance.arguments.policy import DEFAULTS
from resonance.rollout.types import Completion
from resonance.training.rollouts import MicroBatch, Sample
from resonance.training.served_weights import WeightFolder, check_logps
from resonance.training.servers import make_servers


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.lm_head = nn.Linear(2, 2, bias=False)
        self.value_head = nn.Linear(2, 1)
        self.value_model = nn.ModuleDict({"body": nn.Linear(2, 2)})

    def save_pretrained(self, folder, state_dict):
        folder.mkdir(parents=True)
        torch.save(state_dict, folder / "weights.pt")


@pytest.fixture
def folder(tmp_path):
    model = Model()
    accelerator = SimpleNamespace(unwrap_model=lambda model: model, wait_for_everyone=lambda: None)
    args = SimpleNamespace(output_dir=str(tmp_path), should_save=True)
    trainer = SimpleNamespace(model=model, accelerator=accelerator, args=args, is_fsdp_enabled=False)
    return WeightFolder(trainer, adapter=False)


def test_one_version_is_kept_and_no_critic_is_in_it(folder):
    first, second = folder.write(0), folder.write(3)
    assert first.name != second.name and second.name.startswith(second.family)
    given = []
    folder.hand_out(lambda: given.append(sorted(path.name for path in folder.folder.iterdir())))
    assert given == [sorted([first.name, second.name])], "servers may still read the one before"
    assert [path.name for path in folder.folder.iterdir()] == [second.name]
    assert list(torch.load(f"{second.folder}/weights.pt")) == ["lm_head.weight"]
    folder.remove()
    assert not folder.folder.exists()


def test_a_run_that_has_written_nothing_leaves_nothing(folder):
    folder.remove()
    assert not folder.folder.exists()


def test_another_run_in_the_same_folder_has_other_names_of_one_family(folder):
    other = WeightFolder(folder.trainer, adapter=False)
    assert other.write(0).name != folder.write(0).name and other.family == folder.family


def batch(*versions, difference=0.5):
    samples = [Sample(0, i, Completion([5, 1], [-1.0, -1.0], "stop", v), "", {}, 1.0) for i, v in enumerate(versions)]
    found = MicroBatch.of(samples)
    found.tensors["old_logps"] = torch.full((len(versions), 2), -1.0 + difference)
    return found


def check(*batches, limit=0.1, total=lambda x: x):
    return check_logps(list(batches), 4, limit, total)


def test_answers_of_other_weights_stop_the_run():
    with pytest.raises(ValueError, match="differ from the trainer's by 0.5 a token, more than 0.1"):
        check(batch(4, 4))
    with pytest.raises(ValueError, match="by nan a token"):
        check(batch(4, difference=float("nan")))


def test_answers_within_the_limit():
    found = check(batch(4), batch(4, difference=0.05), limit=0.3)
    assert found == {"rollout/logp_diff_max": pytest.approx(0.5)}


def test_answers_of_earlier_versions_are_not_compared():
    assert check(batch(2, 2)) == {}
    assert check(batch(2, difference=9.0), batch(4, difference=0.01)) == {
        "rollout/logp_diff_max": pytest.approx(0.01, abs=1e-6)
    }


def test_all_ranks_stop_together():
    """This one has no difference, another has a large one."""
    with pytest.raises(ValueError, match="by 0.5 a token"):
        check(batch(4, difference=0.0), total=lambda x: x + torch.tensor([2.0, 2.0]))


def test_a_key_that_is_not_set_stops_a_run_before_a_model_is_loaded(monkeypatch):
    values = {**DEFAULTS, "rollout_backend": "vllm", "rollout_key_env": "MY_ROLLOUT_KEY"}
    settings = SimpleNamespace(values=values, urls=["http://127.0.0.1:9"])
    with pytest.raises(ValueError, match="rollout_key_env: the environment variable MY_ROLLOUT_KEY.*not set"):
        make_servers(settings)
    monkeypatch.setenv("MY_ROLLOUT_KEY", "hush")
    (server,) = make_servers(settings)
    assert server.url == "http://127.0.0.1:9" and server.client.retries == 0
