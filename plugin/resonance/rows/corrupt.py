# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Images that show less than they did, in their old sizes, so that a prompt keeps its tokens."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

import numpy as np
from PIL import Image

from .fields import ROW, SOURCE
from .overlong.shrink_image import opened
from .plan import Corruption

# Share of an image's variance that is left at a step of diffusion, by the schedule of CHiP's add_diffusion_noise.
_BETAS = (0.5e-2 - 1e-5) / (1 + np.exp(-np.linspace(-6, 6, 1000))) + 1e-5
_KEPT = float(np.cumprod(1 - _BETAS)[500])
# It is added to pixels as CLIP's processor normalizes them.
_MEAN, _STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
_AREA, _ASPECT = (0.01, 0.2), (3 / 4, 4 / 3)  # of a crop, of mDPO's code: share of the image, width by height


@dataclass(frozen=True)
class Corrupter:
    """Corrupts the images of tokenized rows.

    What becomes of an image follows from the seed and its row alone: it is the same in every epoch, on every rank and
    after a resume.

    Attributes:
        how: `crop` (a random hundredth to fifth of the image, enlarged), `noise` (random pixels), `diffusion` (noise
            over the image, as CHiP's code: step 500 of 1000) or `blank` (black).
        seed: of the run.
    """

    how: Corruption
    seed: int

    def __call__(self, row: Mapping[str, Any]) -> list[Image.Image]:
        """The corrupted images of a row, which has to have some, as they are in a batch."""
        draw = Random(f"{self.seed}:{row.get(SOURCE)}:{row.get(ROW)}")
        return [self._corrupted(opened(image), draw) for image in row["images"]]

    def _corrupted(self, image: Image.Image, draw: Random) -> Image.Image:
        width, height = image.size
        if self.how == "blank":
            return Image.new("RGB", image.size)
        if self.how == "noise":
            return Image.frombytes("RGB", image.size, draw.randbytes(3 * width * height))
        if self.how == "diffusion":
            noise = np.random.default_rng(draw.getrandbits(64)).standard_normal((height, width, 3))
            pixels = (np.asarray(image.convert("RGB")) / 255 - _MEAN) / _STD
            mixed = math.sqrt(_KEPT) * pixels + math.sqrt(1 - _KEPT) * noise
            return Image.fromarray((255 * (mixed * _STD + _MEAN).clip(0, 1)).round().astype(np.uint8))
        area = width * height * draw.uniform(*_AREA)
        aspect = math.exp(draw.uniform(*map(math.log, _ASPECT)))
        wide = min(width, max(1, round(math.sqrt(area * aspect))))
        high = min(height, max(1, round(math.sqrt(area / aspect))))
        left, top = draw.randint(0, width - wide), draw.randint(0, height - high)
        return image.resize(image.size, box=(left, top, left + wide, top + high))
