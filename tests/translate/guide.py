# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""The arguments of the Resonance guide as its document lists them, and commands: the guide's, and of its users."""

from __future__ import annotations

import re

# `--name` of every table of the document, with the default that it gives there; None where there is none.
DOCUMENTED: dict[str, str | None] = {
    "model_name_or_path": None,
    "freeze_vision_tower": "True",
    "use_flash_attention_2": "False",
    "dataset_name": None,
    "data_path": None,
    "image_root": None,
    "data_ratio": "1.0",
    "dataset_num_proc": "4",
    "max_length": "2048",
    "max_prompt_length": "1024",
    "max_target_length": "1024",
    "use_lora": "False",
    "lora_r": "64",
    "lora_alpha": "16",
    "lora_dropout": "0.05",
    "lora_target_modules": "auto",
    "lora_bias": "none",
    "q_lora": "False",
    "bits": "4",
    "modules_to_save": None,
    "beta": "0.1",
    "score_margin": "0.0",
    "kl_coef": "0.1",
    "cliprange": "0.2",
    "vf_coef": "0.5",
    "eval_strategy": "steps",
    "eval_steps": "500",
    "save_strategy": "steps",
    "save_steps": "1000",
    "save_total_limit": "3",
    "logging_steps": "50",
    "report_to": "wandb",
    "project_name": "Resonance",
    "group_name": None,
    "run_name": None,
}
# Its training hyperparameters, which are Transformers' and have no default of the guide's.
RECOMMENDED = (
    "per_device_train_batch_size gradient_accumulation_steps learning_rate weight_decay warmup_ratio "
    "lr_scheduler_type num_train_epochs bf16 gradient_checkpointing num_processes config_file"
).split()
# What the code that the guide describes has beyond it.
IN_THE_CODE = (
    "data_dir label_pad_token_id ignore_bias_buffers merge_peft_model loss_type init_kl_coef cliprange_value gamma "
    "lam target horizon ppo_epochs whiten_rewards max_new_tokens mini_batch_size batch_size use_value_adapter "
    "adap_kl_ctrl kl_penalty ratio_threshold v_head_init_strategy v_head_initializer_range "
    "reward_adapter reward_adapter_name reward_model_name_or_path per_device_gamelog_size log_with"
).split()

_SFT = "--dataset_name vlquery_json --data_path demos/data/demo_sft.json --image_root demos/images"
_ASKED = "--model_name_or_path Qwen/Qwen2-VL-2B-Instruct"
_PAIRS = "--dataset_name plain_dpo --data_path pairs.json --image_root demos/images"
_PROMPTS = "--data_path prompts.json --image_root demos/images"
# The guide's own. Those that it leaves open ("other arguments") have the required ones put in.
OWN = {
    "lora of attention": f"python src/resonance/sft.py {_ASKED} {_SFT} --use_lora True "
    '--lora_target_modules "c_attn,attn.c_proj"',
    "lora of attention and MLP": "python src/resonance/sft.py --model_name_or_path Qwen/Qwen-VL-Chat "
    f'{_SFT} --use_lora True --lora_target_modules "c_attn,attn.c_proj,w1,w2"',
    "lora of what fits": f'python src/resonance/sft.py {_ASKED} {_SFT} --use_lora True --lora_target_modules "auto"',
    "little memory": f"""python src/resonance/dpo.py {_ASKED} {_PAIRS} \\
    --gradient_checkpointing True \\
    --use_lora True \\
    --q_lora True \\
    --bits 4 \\
    --per_device_train_batch_size 1 \\
    --gradient_accumulation_steps 16
""",
    "several GPUs": f"""# Use with accelerate
accelerate launch --config_file accelerate_config/zero2.yaml \\
    --num_processes 4 \\
    src/resonance/dpo.py {_ASKED} {_PAIRS} \\
    # ... other arguments
""",
    "quick demo": """python src/resonance/sft.py \\
    --model_name_or_path microsoft/DialoGPT-medium \\
    --dataset_name vlquery_json \\
    --data_path demos/data/demo_sft.json \\
    --image_root demos/images \\
    --max_length 512 \\
    --per_device_train_batch_size 2 \\
    --num_train_epochs 1 \\
    --learning_rate 5e-5 \\
    --use_lora True \\
    --lora_r 16 \\
    --report_to none
""",
    "production": """accelerate launch --config_file accelerate_config/zero2.yaml \\
    src/resonance/dpo.py \\
    --model_name_or_path Qwen/Qwen-VL-Chat \\
    --dataset_name vlfeedback_paired \\
    --per_device_train_batch_size 4 \\
    --gradient_accumulation_steps 8 \\
    --learning_rate 1e-5 \\
    --num_train_epochs 1 \\
    --use_lora True \\
    --lora_r 64 \\
    --lora_alpha 16 \\
    --beta 0.1 \\
    --max_length 1024 \\
    --bf16 True \\
    --gradient_checkpointing True \\
    --project_name "Resonance" \\
    --group_name "Qwen-VL-DPO"
""",
}
USERS = {
    "full tuning": f"python sft.py {_ASKED} {_SFT} --freeze_vision_tower False --max_length 1024",
    "flags alone": f"python src/resonance/sft.py {_ASKED} {_SFT} --use_lora --bf16 --no_freeze_vision_tower",
    "equals signs": f"python dpo.py {_ASKED} {_PAIRS} --beta=0.2 --use_lora=True --max_length=1024 --report_to=none",
    "llava": "python dpo.py --model_name_or_path llava-hf/llava-1.5-7b-hf --dataset_name rlhfv --image_root imgs "
    "--use_lora True --max_prompt_length 512 --max_target_length 512",
    "llava-next": "CUDA_VISIBLE_DEVICES=0,1 accelerate launch --multi_gpu --num_processes 2 --mixed_precision bf16 "
    "src/resonance/dpo.py --model_name_or_path ckpts/llava-v1.6-mistral-7b-hf --dataset_name vlfeedback_paired "
    "--score_margin -1 --use_lora True",
    "other losses": f"python dpo.py {_ASKED} {_PAIRS} --loss_type kto_pair --eval_strategy no --save_strategy epoch",
    "ppo": f"python ppo.py {_ASKED} {_PROMPTS} --use_lora True --kl_coef 0.05 --cliprange 0.1 --vf_coef 1.0",
    "ppo of the code": "accelerate launch --config_file accelerate_config/ddp.yaml --num_processes 8 ppo.py "
    f"{_ASKED} {_PROMPTS} --use_lora True --batch_size 64 --mini_batch_size 2 --gradient_accumulation_steps 8 "
    "--ppo_epochs 4 --init_kl_coef 0.3 --max_new_tokens 512 --whiten_rewards True --use_value_adapter True "
    "--adap_kl_ctrl False --log_with none",
    "two nodes": "accelerate launch --num_machines 2 --num_processes 16 --machine_rank 1 --main_process_ip 10.0.0.1 "
    f"--main_process_port 29500 --use_deepspeed --zero_stage 3 dpo.py {_ASKED} {_PAIRS} --tf32 True --seed 7",
    "torchrun": f"torchrun --nproc_per_node 4 src/resonance/sft.py {_ASKED} {_SFT} --lora_r 8 --use_lora True "
    "--group_by_length True --evaluation_strategy epoch --adam_beta2 0.98 > log.txt 2>&1",
}
COMMANDS = {**OWN, **USERS}
SCRIPT = """#!/bin/bash
source scripts/config.sh
per_device_train_batch_size=4
lm_lora_modules="c_attn,attn.c_proj,w1,w2"
vision="in_proj"
full="${lm_lora_modules},${vision}"
gpu_number=$(nvidia-smi --list-gpus | wc -l)
name="bs${per_device_train_batch_size}_lr1e-5"
export WANDB_MODE="offline"
accelerate launch --config_file accelerate_config/zero2.yaml --num_processes $gpu_number\\
        src/resonance/dpo.py \\
        --model_name_or_path ckpts/Qwen-VL-Chat \\
        --output_dir ckpts/Qwen-VL-Chat-dpo/$name \\
        --dataset_name vlfeedback_paired \\
        --image_root ${image_root_map[$dataset]} \\
        --use_lora True \\
        --lora_target_modules $lm_lora_modules \\
        --lora_bias "none" \\
        --per_device_train_batch_size $per_device_train_batch_size \\
        --remove_unused_columns False \\
        --run_name  $name\\
        --project_name "VL-RLHF"
"""


def arguments_of(document: str) -> set[str]:
    """Names of a document's `--arguments`."""
    return set(re.findall(r"--([a-z]\w*)", document))
