# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Every name of LlamaFactory that we rebind, with board, feedback, stock and tables.py; `always` ones: always.py.

Imported by the start-up hook while LlamaFactory is, so other rooms are imported inside functions.
"""

from __future__ import annotations

from typing import Any

from .. import SUPPORTED_LLAMAFACTORY, TESTED_LLAMAFACTORY
from .board import BOARD_PATCHES
from .declare import always as _always
from .declare import in_run as _in
from .feedback import KTO_PATCHES
from .registry import Registry
from .stock import STOCK_PATCHES
from .tables import TABLES

_ARGS = ("model_args", "data_args", "training_args")
_RUN = (*_ARGS, "finetuning_args")
_OURS = "rows.tokenized_path:get_dataset"
_REFERENCE = ("model_args", "finetuning_args", "add_valuehead")
_GET_DATASET = ("template", *_ARGS, "stage")
_PARSED = "llamafactory.hparams"
_LOAD = ("tokenizer", "model_args", "finetuning_args", "is_trainable", "add_valuehead")
_DPO, _RM = ("llamafactory.train.dpo.workflow", "llamafactory.train.rm.workflow")
_COLLATOR = "PairwiseDataCollatorWithPadding"
_KEYS = {
    "why": "recipe keys of ours in LlamaFactory's strict parser and in `llamafactory-cli train -h`",
    "remove_when": "LlamaFactory lets a package add argument dataclasses",
}
_V1: dict[str, Any] = {
    "why": "recipe keys of ours are refused by name under USE_V1=1, where nothing of ours runs",
    "remove_when": "our losses run in LlamaFactory's v1 trainers",
    "optional": True,
}
_RATIO = {
    "why": "`data_ratio` in this stage, our trainer of KTO; other recipes go straight to LlamaFactory's function",
    "remove_when": "LlamaFactory can train on a seeded fraction of a dataset",
}
_TUNER = "llamafactory.train.tuner"
_RAY: dict[str, Any] = {
    "why": "where Ray counts fewer than ten CPUs for each device, LlamaFactory waits without end",
    "remove_when": "LlamaFactory reserves what `ray_num_workers` need, and stops where that is not to be had",
    "optional": True,
}
_WEIGHTS = {
    "why": "a weight missing from the checkpoint is initialised at random with a log line only; we stop by name",
    "remove_when": "LlamaFactory or Transformers can refuse a checkpoint with missing weights",
}
_SAVED = {
    "why": "a `tokenized_path` made under another policy or limit holds other rows, and would be read in silence",
    "remove_when": "LlamaFactory keeps the settings of a tokenized set beside it",
}
_COLLATED = {
    "why": "scores in the batch of a loss that reads them; images in the sizes that their tokens were counted with",
    "remove_when": "the collator keeps extra fields under a key that the trainer removes, and a size for each image",
}
_HEAD = {
    "why": "the value head inside the model and in a file of its own, not trl's wrapper, which makes all logits",
    "remove_when": "LlamaFactory's reward models read a value head alone",
}
_CURVES = {
    "why": "`plot_loss: true` draws every metric that was logged on one page beside LlamaFactory's pictures",
    "remove_when": "plot_loss draws all that was logged, and nothing that was not",
    "optional": True,
}

PATCHES = (
    *TABLES,
    _always("arguments", f"{_PARSED}.finetuning_args.FinetuningArguments", "finetuning_arguments", (), **_KEYS),
    _always("arguments", f"{_PARSED}.data_args.DataArguments", "data_arguments", (), **_KEYS),
    _always(
        "arguments",
        "llamafactory.hparams.parser.get_train_args",
        "get_train_args",
        ("args",),
        why="all problems of a recipe at once, nearest name first; recipes of ours fail here if a patch is missing",
        remove_when="LlamaFactory's parser suggests names and checks Literal values of YAML recipes",
        any_version=True,
    ),
    _always(
        "run_dpo",
        "llamafactory.train.dpo.workflow.run_dpo",
        "run_stage",
        (*_RUN, "callbacks"),
        why="recipes of ours run with the names below rebound; stock recipes go straight to LlamaFactory's function",
        remove_when="LlamaFactory has a registry of trainers",
    ),
    _always(
        "run_rm",
        "llamafactory.train.rm.workflow.run_rm",
        "run_stage",
        (*_RUN, "callbacks"),
        why="`overlong` and the other keys about rows in the reward stage; other recipes are LlamaFactory's alone",
        remove_when="LlamaFactory's pairwise processor never cuts through an image",
    ),
    _always("run_sft", "llamafactory.train.sft.workflow.run_sft", "run_stage", _RUN, **_RATIO),
    _always("run_pt", "llamafactory.train.pt.workflow.run_pt", "run_stage", _RUN, **_RATIO),
    _always("run_kto", "llamafactory.train.kto.workflow.run_kto", "run_stage", _RUN, **_RATIO),
    _always(
        "run_ppo",
        "llamafactory.train.ppo.workflow.run_ppo",
        "run_ppo",
        (*_RUN, "generating_args", "callbacks"),
        why="LlamaFactory's PPO stops at a version of trl that it does not allow, and knows no images",
        remove_when="LlamaFactory trains policies on images",
    ),
    _always(
        "launcher",
        "llamafactory.launcher.launch",
        "launch",
        (),
        why="the launcher takes `torchrun` from PATH; another environment's would start ranks without this package",
        remove_when="LlamaFactory launches `sys.executable -m torch.distributed.run`",
        optional=True,
    ),
    _always(
        "chat",
        "llamafactory.chat.hf_engine.HuggingfaceEngine",
        "chat_engine",
        (*_ARGS[:2], "finetuning_args", "generating_args"),
        why="`chat_image_positions`: chat answers Qwen-VL models with other positions than they were trained with",
        remove_when="LlamaFactory's chat passes mm_token_type_ids",
        optional=True,
    ),
    _always(
        "launcher",
        "llamafactory.train.tuner.run_exp",
        "run_exp",
        ("args", "callbacks"),
        why="errors of ours end a run in their own words without a traceback, and JSON recipes are read",
        remove_when="LlamaFactory reads JSON recipes, and prints what a user is to correct without a traceback",
        optional=True,
    ),
    _always("ray", f"{_TUNER}._ray_training_function", "ray_training", ("ray_args", "config"), **_RAY),
    _in("ray", f"{_TUNER}.get_placement_group", "hooks.ray:get_placement_group", ("num_workers",), **_RAY),
    _always("v1", "llamafactory.v1.config.arg_parser.get_args", "get_v1_args", ("args",), **_V1),
    _in(
        "rows",
        "llamafactory.data.parser.DatasetAttr",
        "rows.attributes:ScoredDatasetAttr",
        ("load_from", "dataset_name"),
        why="`score_chosen` and `score_rejected` in dataset_info.json's columns",
        remove_when="DatasetAttr.join reads every column it is given",
    ),
    _in(
        "rows",
        "llamafactory.data.converter.get_dataset_converter",
        "rows.convert:get_dataset_converter",
        ("name", "dataset_attr", "data_args"),
        why="converters drop every column they do not know; scores and the row's origin must travel",
        remove_when="converters can pass extra columns through",
    ),
    _in(
        "rows",
        "llamafactory.data.loader.load_dataset",
        "rows.load:load_dataset",
        ("path", "name", "data_dir", "data_files", "split", "cache_dir"),
        why="a row keeps its number in its file through sampling, and an unreadable file is explained with its rows",
        remove_when="LlamaFactory keeps the origin of a row",
    ),
    _in(
        "rows",
        "llamafactory.data.loader._load_single_dataset",
        "rows.load:load_single_dataset",
        ("dataset_attr", "model_args", "data_args", "training_args"),
        why="a local file streamed without data workers is split into zero shards and yields no rows",
        remove_when="LlamaFactory streams local files with at least one shard",
    ),
    _in(
        "align",
        "llamafactory.data.loader.align_dataset",
        "rows.align:align_dataset",
        ("dataset", "dataset_attr", "data_args", "training_args"),
        why="rows are chosen, and pairs checked before step 1, with file and row in every message, skips counted",
        remove_when="LlamaFactory validates rows and names them, and can keep a seeded fraction",
    ),
    _in(
        "selection",
        "llamafactory.data.loader._get_merged_dataset",
        "rows.select:get_merged_dataset",
        ("dataset_names", *_ARGS, "stage", "return_dict"),
        why="`data_ratio` and `score_margin` are of training sets; where they are applied one cannot tell which it is",
        remove_when="as for align_dataset",
    ),
    _in(
        "rows",
        "llamafactory.data.loader._get_preprocessed_dataset",
        "rows.overlong.dataset:get_preprocessed_dataset",
        ("dataset", "data_args", "training_args", "stage"),
        why="pairs that are too long stop the run together, are dropped, shrunk or cut, and are listed",
        remove_when="LlamaFactory has a policy for rows over cutoff_len",
    ),
    _in("dpo_rows", f"{_DPO}.get_dataset", _OURS, _GET_DATASET, **_SAVED),
    _in("rm_rows", f"{_RM}.get_dataset", _OURS, _GET_DATASET, **_SAVED),
    _in(
        "rows",
        "llamafactory.data.loader.PairwiseDatasetProcessor",
        "rows.tokenize:PreferenceDatasetProcessor",
        ("template", "tokenizer", "processor", "data_args"),
        why="it emits fixed keys, so scores would be lost; it cuts through images; it decodes each image twice",
        remove_when="it passes extra columns through, has a policy for long rows, and counts tokens from headers",
    ),
    _in("dpo_rows", f"{_DPO}.{_COLLATOR}", "rows.collate:PreferenceCollator", (), **_COLLATED),
    _in("rm_rows", f"{_RM}.{_COLLATOR}", "rows.collate:PreferenceCollator", (), **_COLLATED),
    _in(
        "rm_trainer",
        f"{_RM}.PairwiseTrainer",
        "training.reward_model:reward_trainer",
        ("finetuning_args", "processor"),
        why="reward models on our engine; any other resumed run would go on with the weights that it started from",
        remove_when="LlamaFactory resumes reward models, and its trainer of them takes its loss from a registry",
        optional=True,
    ),
    _in("rm_model", f"{_RM}.load_model", "training.reward_model:load_model", _LOAD, **_HEAD),
    _in("rm_model", f"{_RM}.fix_valuehead_checkpoint", "training.reward_model:keep_checkpoint", ("model",), **_HEAD),
    _in("rm_model", f"{_RM}.plot_loss", "training.curves:plot_loss", ("save_dictionary", "keys"), **_CURVES),
    _in(
        "ppo_rows",
        "llamafactory.data.loader.UnsupervisedDatasetProcessor",
        "rows.prompts:PromptDatasetProcessor",
        ("template", "tokenizer", "processor", "data_args"),
        why="it drops every column that rewards read, and cuts prompts through images",
        remove_when="it passes extra columns through and has a policy for long rows",
    ),
    _in("trainer", f"{_DPO}.load_model", "training.weights:load_model", _LOAD, **_WEIGHTS),
    _in("trainer", f"{_DPO}.create_ref_model", "training.weights:create_ref_model", _REFERENCE, **_WEIGHTS),
    _in(
        "trainer",
        f"{_DPO}.plot_loss",
        "training.curves:plot_loss",
        ("save_dictionary", "keys"),
        **_CURVES,
    ),
    _in(
        "trainer",
        "llamafactory.train.dpo.trainer.CustomDPOTrainer",
        "training.preference:PreferenceTrainer",
        ("model", "ref_model", "finetuning_args", "processor", "disable_dropout"),
        why="losses of the table instead of trl's dpo_loss, which LlamaFactory calls without the loss type",
        remove_when="LlamaFactory's DPO trainer takes its loss from a registry",
    ),
    *KTO_PATCHES,
    *STOCK_PATCHES,
    *BOARD_PATCHES,
)

registry = Registry("llamafactory", SUPPORTED_LLAMAFACTORY, TESTED_LLAMAFACTORY, PATCHES)
