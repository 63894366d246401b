# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""`forked.py` where a FlashAttention seems to be installed: that of `forward/flash.py`, which runs on CPUs."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))


def main() -> None:
    # First: trl 0.24 beside transformers 5 believes that mergekit is installed, and this sets that right.
    import llamafactory.extras.packages  # noqa: F401
    import pytest
    import transformers

    import forked
    from forward.flash import instead_of_flash_attention

    patch = pytest.MonkeyPatch()
    instead_of_flash_attention(patch)
    patch.setattr(transformers.utils, "is_flash_attn_2_available", lambda: True)
    patch.setattr(transformers.PreTrainedModel, "_flash_attn_can_dispatch", lambda *args, **kwargs: True)
    forked.main()


if __name__ == "__main__":
    main()
