# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Suites of benchmarks, and models, by the names that VLMEvalKit and lmms-eval have for them. No torch.

As in VLMEvalKit of August 2026 (e8e78f0) and lmms-eval 0.7.3.
"""

from __future__ import annotations

from dataclasses import dataclass

_VQA, _MCQ, _YORN = "ImageVQADataset", "ImageMCQDataset", "ImageYORNDataset"


@dataclass(frozen=True)
class Benchmark:
    """One benchmark.

    Attributes:
        vlmeval: its name in VLMEvalKit, and of its files.
        dataset: VLMEvalKit's class that reads it.
        lmms: the task in lmms-eval; of the same split, which is not always the same prompt.
    """

    vlmeval: str
    dataset: str
    lmms: str


@dataclass(frozen=True)
class Suite:
    """Benchmarks that a paper reports.

    Attributes:
        paper: which one.
        benchmarks: in its order.
        note: what to know before numbers are compared with the paper's.
    """

    paper: str
    benchmarks: tuple[Benchmark, ...]
    note: str = ""


SUITES = {
    "uni_dpo": Suite(
        "Uni-DPO, multimodal: the nine benchmarks of its config.json, and two more that it reports",
        (
            Benchmark("ChartQA_TEST", _VQA, "chartqa"),
            Benchmark("MMBench_DEV_CN", _MCQ, "mmbench_cn_dev"),
            Benchmark("MMBench_DEV_EN", _MCQ, "mmbench_en_dev"),
            Benchmark("MME", _YORN, "mme"),
            Benchmark("OCRBench", "OCRBench", "ocrbench"),
            Benchmark("POPE", _YORN, "pope"),
            Benchmark("ScienceQA_TEST", _MCQ, "scienceqa_img"),
            Benchmark("SEEDBench_IMG", _MCQ, "seedbench"),
            Benchmark("TextVQA_VAL", _VQA, "textvqa_val"),
            Benchmark("InfoVQA_VAL", _VQA, "infovqa_val"),
            Benchmark("RealWorldQA", _MCQ, "realworldqa"),
        ),
        "Uni-DPO's own evaluation sends Qwen2-VL prompts without roles, unlike its training; numbers of this "
        "configuration are not comparable with its figures. `seedbench` of lmms-eval has video questions, too.",
    ),
    "vl_rlhf": Suite(
        "VL-RLHF's README, after DPO on VLFeedback",
        (
            Benchmark("MMBench_DEV_EN", _MCQ, "mmbench_en_dev"),
            Benchmark("MMVet", "MMVet", "mmvet"),
            Benchmark("SEEDBench_IMG", _MCQ, "seedbench"),
            Benchmark("MMMU_DEV_VAL", "MMMUDataset", "mmmu_val"),
            Benchmark("MathVista_MINI", "MathVista", "mathvista_testmini_format"),
        ),
        "MMVet and MathVista are judged by a model behind an API.",
    ),
    "openvlthinker": Suite(
        "OpenVLThinker v1.2",
        (
            Benchmark("MathVista_MINI", "MathVista", "mathvista_testmini_format"),
            Benchmark("MathVerse_MINI", "MathVerse", "mathverse_testmini"),
            Benchmark("MathVision", "MathVision", "mathvision_test"),
            Benchmark("MMMU_Pro_10c", "MMMUProDataset", "mmmu_pro_standard"),
            Benchmark("EMMA", "EMMADataset", "emma"),
            Benchmark("HallusionBench", _YORN, "hallusion_bench_image"),
        ),
        "MathVista, MathVerse, MathVision and EMMA are judged by a model behind an API.",
    ),
}


@dataclass(frozen=True)
class Family:
    """How other programs load a kind of model.

    Attributes:
        vlmeval: VLMEvalKit's class; None if it has none for models of Transformers.
        lmms: the model in lmms-eval; None likewise.
        takes_system: whether both take a `system_prompt`.
    """

    vlmeval: str | None
    lmms: str | None
    takes_system: bool = False


FAMILIES = {  # by `model_type` of config.json
    "qwen2_vl": Family("Qwen2VLChat", "qwen2_vl", takes_system=True),
    "qwen2_5_vl": Family("Qwen2VLChat", "qwen2_5_vl", takes_system=True),
    "qwen3_vl": Family("Qwen3VLChat", "qwen3_vl", takes_system=True),
    "llava_next": Family("LLaVA_Next", "llava_hf"),
    "llava": Family(None, "llava_hf"),
    "llava_onevision": Family("LLaVA_OneVision_HF", "llava_hf"),
    "idefics2": Family("IDEFICS2", "idefics2"),
    "idefics3": Family("SmolVLM", None),
    "smolvlm": Family("SmolVLM", None),
}
