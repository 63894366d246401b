# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
# ruff: noqa: RUF001 (Chinese has punctuation of its own)
"""What the page writes beside our components: English from the keys' own help, Chinese from here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .fields import Entry

PREFIX = "resonance_"  # of our components among LlamaFactory's
FOLD = {"en": "Resonance: keys of this stage and loss", "zh": "Resonance：当前训练阶段与损失的参数"}
ALERTS = {
    "no_rewards": {
        "en": "PPO needs `rewards` (in the fold Resonance) or a reward model (in RLHF configurations).",
        "zh": "PPO 需要奖励：请在 Resonance 折叠栏中填写 `rewards`，或在 RLHF 参数设置中选择奖励模型。",
    },
    "no_object": {
        "en": 'Extra arguments: give an object, e.g. {"optim": "adamw_torch"}.',
        "zh": '额外参数必须是 JSON 对象，例如 {"optim": "adamw_torch"}。',
    },
    "output_dir": {
        "en": "Extra arguments: `output_dir` has a field of its own, where the page looks for progress.",
        "zh": "额外参数中不能包含 `output_dir`：请使用“输出目录”一栏，页面从那里读取训练进度。",
    },
    "cause": {"en": "What stopped it:", "zh": "出错原因："},
}
# key -> (label, info)
CHINESE = {
    "dpo_label_smoothing": ("标签平滑", "偏好标签中噪声的比例，0 到 0.5 之间；仅用于带标签平滑的损失。"),
    "simpo_gamma": ("SimPO 目标间隔 γ", "SimPO 损失中的目标奖励间隔。"),
    "uni_dpo_qual_eta": ("质量权重 η", "Uni-DPO 质量权重 sigmoid(η × (chosen 得分 − rejected 得分)) 中的 η。"),
    "uni_dpo_tau_ref": ("性能阈值 τ_ref", "Uni-DPO 性能权重 (1 − sigmoid(β × 间隔 − τ_ref)) ** γ 中的 τ_ref。"),
    "uni_dpo_perf_gamma": ("聚焦指数 γ", "Uni-DPO 性能权重的聚焦指数 γ。"),
    "uni_dpo_nll_lambda": ("NLL 系数 λ", "Uni-DPO 对优质 chosen 回答的校准 NLL 项的系数。"),
    "uni_dpo_tau_good": ("优质阈值 τ_good", "chosen 得分达到该值时才加入 NLL 项，取决于数据的打分范围。"),
    "uni_dpo_detach_weights": ("权重不回传梯度", "Uni-DPO：性能权重不参与梯度计算。原作者的实现会回传。"),
    "uni_dpo_eta_warmup": ("η 预热", "Uni-DPO：质量权重的 η 从 0 升到设定值所用的训练比例。"),
    "pref_loss_params": ("其他损失参数", '没有独立参数名的损失参数，JSON 格式，例如 {"discopop_tau": 0.05}。'),
    "pref_loss_weights": ("混合损失的权重", "每个损失一个权重，例如 [0.8, 0.2, 1.0]；留空则均为 1。"),
    "pref_engine": ("训练引擎", "由谁训练 sigmoid、orpo、simpo；其他损失总由 Resonance 训练。"),
    "dpo_average_log_prob": ("按词元平均对数概率", "用每个词元的平均对数概率代替总和；留空则按各损失自己的规则。"),
    "sample_weights": ("样本权重", "用数据集的 weight 列乘以每个训练样本的损失。"),
    "precompute_ref_log_probs": ("预先计算参考模型", "训练前算好参考模型的对数概率，训练时不再占用其显存。"),
    "score_order": ("按分差排序", "每轮按 chosen 与 rejected 的分差排列样本：先大后小或先小后大；留空则随机。"),
    "mdpo_image": ("图像扰动方式", "mDPO 与 CHiP：对比所用的图像如何被破坏：裁剪、噪声、扩散噪声或全黑。"),
    "overlong": ("超长样本", "样本超过截断长度时：报错、丢弃、缩小图像或截短文本；都不会切断图像。"),
    "max_prompt_length": ("提示最大长度", "提示（含图像）的最大词元数。"),
    "max_target_length": ("回答最大长度", "每个回答的最大词元数。"),
    "score_margin": ("最小分差", "只保留分差不小于该值的样本对；-1 表示每个提示只保留分差最大的一对。"),
    "data_ratio": ("数据比例", "每个训练集保留的样本比例，0 到 1。"),
    "pref_speedups": ("前向加速", "精确的加速：auto、off，或用逗号分隔的名称。"),
    "image_feature_cache": ("图像特征缓存", "用内存缓存冻结视觉塔的特征，例如 8GB；off 为关闭。"),
    "group_prompts": ("同提示样本相邻", "让同一提示的样本对相邻，从而只计算一次提示。"),
    "vision_lr": ("视觉塔学习率", "视觉塔单独的学习率；需要先取消冻结视觉塔。"),
    "projector_lr": ("投影层学习率", "多模态投影层单独的学习率；需要先取消冻结投影层。"),
    "kto_engine": ("训练引擎", "由谁训练 KTO；长度、样本权重等参数总由 Resonance 执行。"),
    "kto_chosen_weight": ("正样本权重", "KTO 中好回答的损失权重。"),
    "kto_rejected_weight": ("负样本权重", "KTO 中坏回答的损失权重。"),
    "rm_engine": ("训练引擎", "由谁训练奖励模型；使用得分时总由 Resonance 训练。"),
    "rm_margin": ("奖励间隔", "score：两个回答的奖励之差至少与得分之差成比例。"),
    "rm_margin_scale": ("间隔系数", "得分相差 1 时对应的奖励之差。"),
    "rm_weight": ("样本对权重", "score：用得分之差为每个样本对加权。"),
    "rm_weight_eta": ("权重系数 η", "样本对权重中的 η。"),
    "ppo_variant": ("强化学习算法", "PPO、GRPO 等的预设；下面的参数可覆盖其中任何一项。"),
    "rewards": ("奖励", "内置名称、package.module:function、评判服务的 URL，或 JSON 格式的一项；可选多个。"),
    "num_generations": ("每个提示的生成数", "每个提示生成多少个回答。"),
    "max_new_tokens": ("最大生成长度", "每个回答最多生成的词元数。"),
    "temperature": ("采样温度", "生成回答时的温度。"),
    "ppo_buffer_size": ("每次采样的更新步数", "一次采样的样本分成多少个优化步。"),
    "ppo_epochs": ("每次采样的轮数", "一次采样的样本训练多少轮。"),
    "rollout_batch_size": ("采样批大小", "每个进程一次为多少个提示生成回答；留空则为一个优化步所需。"),
    "advantage": ("优势函数", "优势的计算方法：内置名称或 package.module:function。"),
    "policy_loss": ("策略损失", "策略损失：内置名称或 package.module:function。"),
    "policy_params": ("其他算法参数", '优势与策略损失的其他参数，JSON 格式，例如 {"dual_clip": 3.0}。'),
    "loss_aggregation": ("损失聚合方式", "词元的损失如何合成一个数。"),
    "clip_low": ("比率下限", "概率比在 1 − 该值处截断。"),
    "clip_high": ("比率上限", "概率比在 1 + 该值处截断。"),
    "advantage_scale": ("优势除以标准差", "同组的优势是否除以奖励的标准差。"),
    "kl_coef": ("KL 系数", "与参考模型的 KL 散度的权重；0 则不需要参考模型。"),
    "kl_in": ("KL 的位置", "KL 散度计入损失还是奖励。"),
    "kl_estimator": ("KL 估计", "KL 散度的估计方法。"),
    "critic": ("价值网络", "shared：在策略模型上加价值头；separate：单独的一份。"),
    "critic_learning_rate": ("价值网络学习率", "价值网络自己的权重的学习率；留空则为 learning_rate 的十倍。"),
    "vf_coef": ("价值损失系数", "价值网络损失的权重。"),
    "cliprange_value": ("价值截断范围", "价值的截断范围，以奖励为单位。"),
    "gamma": ("折扣 γ", "奖励的折扣。"),
    "lam": ("GAE λ", "广义优势估计的 λ。"),
    "entropy_coef": ("熵系数", "熵奖励的权重。"),
    "mask_truncated": ("忽略被截断的回答", "达到最大生成长度的回答不计入损失。"),
    "dynamic_sampling": ("动态采样", "一直采样，直到有足够多的组奖励不全相同。"),
    "overlong_buffer": ("超长惩罚区间", "最大生成长度之前多少词元内 DAPO 的长度惩罚逐渐增大；0 为关闭。"),
    "overlong_penalty": ("超长惩罚", "达到最大生成长度时的惩罚，以奖励为单位。"),
    "rollout_backend": ("生成后端", "谁来生成回答：local 为模型自身，或 vllm、sglang 服务。"),
    "rollout_url": ("生成服务地址", "生成服务的 URL，或 JSON 格式的多个。"),
    "rollout_ahead": ("提前采样", "1：更新时同时用旧一步的权重生成下一批。"),
    "rollout_correction": ("采样修正", "对数概率与训练器不同的词元的重要性权重，例如 token-truncate；off 为关闭。"),
    "eval_num_generations": ("评估时的采样数", "评估时除贪心回答之外每个提示再采样多少个。"),
}  # fmt: skip


def locales(entries: Mapping[str, Entry], languages: Mapping[str, Any]) -> dict[str, dict[str, dict[str, Any]]]:
    """Entries for LlamaFactory's table of words, by the name of the component.

    Args:
        entries: of our keys.
        languages: of the page; those that we have no words in are written in English.
    """
    found = {f"{PREFIX}tab": {language: {"label": FOLD.get(language, FOLD["en"])} for language in languages}}
    for name, entry in entries.items():
        english = {"label": name, "info": entry.help}
        label, info = CHINESE[name]
        chinese = {"label": f"{label} ({name})", "info": info}
        found[PREFIX + name] = {language: chinese if language == "zh" else english for language in languages}
    return found


def alert(name: str, language: str) -> str:
    """A message of ours in the page's language."""
    return ALERTS[name].get(language, ALERTS[name]["en"])
