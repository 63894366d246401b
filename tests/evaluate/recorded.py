# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Names as VLMEvalKit (e8e78f0, August 2026) and lmms-eval 0.7.3 had them; the slow tests look into the packages."""

_MCQ = {"ImageMCQDataset", "CustomMCQDataset"}
VLMEVAL_DATASETS = {  # `supported_datasets()` of which classes
    "ChartQA_TEST": {"ImageVQADataset"},
    "MMBench_DEV_CN": _MCQ,
    "MMBench_DEV_EN": _MCQ,
    "MME": {"ImageYORNDataset"},
    "OCRBench": {"OCRBench"},
    "POPE": {"ImageYORNDataset"},
    "ScienceQA_TEST": _MCQ,
    "SEEDBench_IMG": _MCQ,
    "TextVQA_VAL": {"ImageVQADataset"},
    "InfoVQA_VAL": {"ImageVQADataset"},
    "RealWorldQA": _MCQ,
    "MathVista_MINI": {"MathVista"},
    "MathVerse_MINI": {"MathVerse"},
    "MathVision": {"MathVision"},
    "MMMU_Pro_10c": {"MMMUProDataset"},
    "EMMA": {"EMMADataset"},
    "HallusionBench": {"ImageYORNDataset"},
    "MMVet": {"MMVet"},
    "MMMU_DEV_VAL": {"MMMUDataset"},
}
VLMEVAL_CLASSES = {"Qwen2VLChat", "Qwen3VLChat", "LLaVA_Next", "SmolVLM", "LLaVA_OneVision_HF", "IDEFICS2"}
LMMS_TASKS = {
    *("chartqa mmbench_cn_dev mmbench_en_dev mme ocrbench pope scienceqa_img seedbench textvqa_val".split()),
    *("infovqa_val realworldqa mmvet mmmu_val mathvista_testmini_format mathverse_testmini mathvision_test".split()),
    *("mmmu_pro_standard emma hallusion_bench_image".split()),
}
LMMS_MODELS = {"qwen2_vl", "qwen2_5_vl", "qwen3_vl", "llava_hf", "idefics2"}
