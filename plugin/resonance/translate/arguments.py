# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Every argument of the Resonance guide's `sft.py`, `dpo.py` and `ppo.py`, and of the code that it describes.

`guide` is the default that the guide gives, `code` that of the code where it differs. Arguments that are Transformers'
own and mean the same in a recipe are not listed: `build.py` passes them on.
"""

from __future__ import annotations

from .table import Argument
from .values import attention, names, negated, switch

_TUNED, _PAIRS, _POLICY = ("sft", "dpo"), ("dpo",), ("ppo",)
_REWARDED = "completions are rewarded by functions here: write one, and name it in `rewards:`"
_CUT = {
    "sft": "stage: sft has one limit, cutoff_len (--max_length), and so had the code",
    "ppo": "completions end at max_new_tokens",
}
_DATA = (
    Argument("dataset_name", read=str),
    Argument("data_path", read=str),
    Argument("data_dir", read=str),
    Argument("image_root", read=str),
    Argument("data_ratio", "data_ratio", guide="1.0", absent=1.0, note="sft.py took all rows whatever it said"),
    Argument("dataset_num_proc", "preprocessing_num_workers", guide="4", code="4 in sft.py and 16 in dpo.py"),
    Argument("max_length", "cutoff_len", guide="2048", code="512"),
    Argument(
        "max_prompt_length",
        "max_prompt_length",
        stages=("dpo", "ppo"),
        guide="1024",
        code="128",
        elsewhere=_CUT,
    ),
    Argument(
        "max_target_length",
        "max_target_length",
        stages=_PAIRS,
        guide="1024",
        code="128, for encoder-decoder models alone",
        elsewhere=_CUT,
    ),
    Argument("score_margin", "score_margin", _PAIRS, guide="0.0", code="-1, the widest pairs of a prompt"),
)
_MODEL = (
    Argument("model_name_or_path", "model_name_or_path", read=str, code="llava-hf/llava-1.5-7b-hf"),
    Argument("freeze_vision_tower", "freeze_vision_tower", guide="True", read=switch),
    Argument("use_flash_attention_2", "flash_attn", guide="False", code="True", absent="auto", read=attention),
    Argument("use_lora", "finetuning_type", guide="False", read=lambda given: "lora" if switch(given) else "full"),
    Argument("lora_r", "lora_rank", guide="64"),
    Argument("lora_alpha", "lora_alpha", guide="16"),
    Argument(
        "lora_dropout",
        "lora_dropout",
        stages=("sft", "ppo"),
        guide="0.05",
        elsewhere="LlamaFactory sets all dropout to 0 in preference training",
    ),
    Argument("lora_target_modules", "lora_target", guide="auto", code="None, which is PEFT's choice", read=names),
    Argument(
        "lora_bias",
        guide="none",
        refused="LlamaFactory trains no biases beside LoRA; --use_lora False trains them with all the rest",
        same=("none",),
    ),
    Argument("q_lora", "quantization_method", guide="False", note="the code took checkpoints in GPTQ alone"),
    Argument("bits", "quantization_bit", guide="4"),
    Argument("modules_to_save", "additional_target", guide=None, read=names),
    Argument(
        "merge_peft_model",
        stages=_TUNED,
        refused="merge the adapters afterwards: llamafactory-cli export with the recipe's model, adapter and template",
        same=("False", "false"),
    ),
    Argument(
        "ignore_bias_buffers", refused="it was for DDP and old models; nothing reads it", same=("False", "false")
    ),
    Argument("label_pad_token_id", refused="labels are padded with -100, which no loss reads", same=("-100",)),
)
_LOSS = (
    Argument("beta", "pref_beta", _PAIRS, guide="0.1"),
    Argument("loss_type", "pref_loss", _PAIRS, code="sigmoid", read=str),
)
_PPO = (
    Argument("kl_coef", "kl_coef", _POLICY, guide="0.1", code="no such argument: --init_kl_coef 0.2"),
    Argument("init_kl_coef", "kl_coef", _POLICY),
    Argument("cliprange", "cliprange", _POLICY, guide="0.2"),
    Argument("cliprange_value", "cliprange_value", _POLICY),
    Argument("vf_coef", "vf_coef", _POLICY, guide="0.5", code="0.1"),
    Argument("gamma", "gamma", _POLICY),
    Argument("lam", "lam", _POLICY),
    Argument("target", "ppo_target", _POLICY),
    Argument("horizon", "kl_horizon", _POLICY),
    Argument("ppo_epochs", "ppo_epochs", _POLICY),
    Argument("whiten_rewards", "ppo_whiten_rewards", _POLICY, read=switch),
    Argument("max_new_tokens", "max_new_tokens", _POLICY),
    Argument("mini_batch_size", "per_device_train_batch_size", _POLICY),
    Argument("batch_size", "ppo_buffer_size", _POLICY),
    Argument("use_value_adapter", "critic", _POLICY, read=lambda given: "separate" if switch(given) else "shared"),
    Argument(
        "adap_kl_ctrl",
        stages=_POLICY,
        refused="give --target, the KL to hold; without it kl_coef stays",
        same=("False", "false"),
    ),
    Argument(
        "kl_penalty", "kl_estimator", _POLICY, read=lambda given: {"kl": "k1", "mse": "k2"}.get(str(given), given)
    ),
    Argument("ratio_threshold", stages=_POLICY, refused="no batch is left out; the ratio is clipped (--cliprange)"),
    Argument("v_head_init_strategy", stages=_POLICY, refused="the value head begins at zero"),
    Argument("v_head_initializer_range", stages=_POLICY, refused="the value head begins at zero"),
    Argument("reward_adapter", stages=_POLICY, refused=_REWARDED),
    Argument("reward_adapter_name", stages=_POLICY, refused=_REWARDED),
    Argument("reward_model_name_or_path", stages=_POLICY, refused=_REWARDED),
    Argument("per_device_gamelog_size", stages=_POLICY, refused="completions are written to the output folder anyway"),
    Argument("log_with", "report_to", _POLICY),
)
_LOGGED = (
    Argument("eval_strategy", "eval_strategy", guide="steps", absent="no"),
    Argument("evaluation_strategy", "eval_strategy"),
    Argument("eval_steps", "eval_steps", guide="500"),
    Argument("save_strategy", "save_strategy", guide="steps", absent="steps"),
    Argument("save_steps", "save_steps", guide="1000", absent=500),
    Argument("save_total_limit", "save_total_limit", guide="3"),
    Argument("logging_steps", "logging_steps", guide="50"),
    Argument("report_to", "report_to", guide="wandb"),
    Argument("project_name", "project_name", guide="Resonance", code="VL-RLHF"),
    Argument("group_name", "group_name", read=str),
    Argument("run_name", "run_name", read=str),
)
# Transformers' own that a recipe has under another name, or that LlamaFactory sees to.
_STANDARD = (
    Argument("gradient_checkpointing", "disable_gradient_checkpointing", absent=False, read=negated),
    Argument(
        "group_by_length",
        "train_sampling_strategy",
        read=lambda given: "group_by_length" if switch(given) else "random",
    ),
    Argument("no_cuda", "use_cpu", read=switch),
    Argument("deepspeed", "deepspeed", read=str),
    Argument("remove_unused_columns", refused="LlamaFactory keeps the columns that it needs", same=("False", "false")),
    Argument("ddp_find_unused_parameters", "ddp_find_unused_parameters", read=switch),
    Argument("save_safetensors", refused="Transformers saves nothing else any more", same=("True", "true")),
    Argument("do_train", refused="a recipe that is made here trains", same=("True", "true")),
    Argument("do_predict", refused="predict in a recipe of its own: stage: sft, do_predict: true"),
    Argument("local_rank", refused="the launcher gives it to each process"),
)
ARGUMENTS = {row.name: row for row in (*_MODEL, *_DATA, *_LOSS, *_PPO, *_LOGGED, *_STANDARD)}
