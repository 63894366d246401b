# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""LlamaBoard's page without a browser. As a script: previews of the page in that process's environment, as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

FORM = {
    "top.lang": "en", "top.model_name": "Custom", "top.model_path": "model", "top.finetuning_type": "lora",
    "top.checkpoint_path": [], "top.quantization_bit": "none", "top.quantization_method": "bnb",
    "top.template": "qwen2_vl", "top.rope_scaling": "none", "top.booster": "auto", "train.dataset": ["pairs"],
    "train.output_dir": "out", "train.config_path": "mine.yaml", "train.lora_target": "",
    "train.additional_target": "", "train.reward_model": [],
}  # fmt: skip


class Page:
    """LlamaBoard's page as its engine has it: components by name, and what a press of a button yields."""

    def __init__(self, engine: Any) -> None:
        self.engine, self.manager = engine, engine.manager

    def data(self, **given: Any) -> dict[Any, Any]:
        values = {id_: getattr(element, "value", None) for id_, element in self.manager._id_to_elem.items()}
        values = {id_: value for id_, value in values.items() if not id_.endswith("_tab")}  # those ask for nothing
        return {self.manager.get_elem_by_id(id_): value for id_, value in {**values, **FORM, **given}.items()}

    def preview(self, **given: Any) -> str:
        (shown,) = self.engine.runner.preview_train(self.data(**given))
        return shown[self.manager.get_elem_by_id("train.output_box")]

    def recipe(self, **given: Any) -> dict[str, Any]:
        """The file that Start hands to `llamafactory-cli train`."""
        from llamafactory.webui import common

        path = common.save_cmd(self.engine.runner._parse_train_args(self.data(**given)))
        return yaml.safe_load(Path(path).read_text())


def make_page() -> Page:
    from llamafactory.webui import interface

    engines: list[Any] = []
    original = interface.Engine

    def engine(**options: Any) -> Any:
        engines.append(original(**options))
        return engines[0]

    interface.Engine = engine
    try:
        interface.create_ui()
    finally:
        interface.Engine = original
    return Page(engines[0])


STOCK = [
    {"train.training_stage": stage, "train.val_size": size}
    for stage in ("DPO", "Supervised Fine-Tuning", "KTO", "Reward Modeling", "Pre-Training")
    for size in (0, 0.1)
]

if __name__ == "__main__":
    page = make_page()
    losses = [name for name, _ in page.manager.get_elem_by_id("train.pref_loss").choices]
    page.engine.runner.save_args(page.data(**{"train.config_path": "plain.yaml"}))
    loaded = len(page.engine.runner.load_args("en", "plain.yaml"))
    print(
        json.dumps(
            {
                "runner": type(page.engine.runner).__module__,
                "losses": losses,
                "previews": [page.preview(**given) for given in STOCK],
                "recipes": [page.recipe(**given) for given in STOCK],
                "configuration": Path("llamaboard_config/plain.yaml").read_text(),
                "loaded": loaded,
                "components": [name for name, _ in page.manager.get_elem_iter()],
            }
        )
    )
