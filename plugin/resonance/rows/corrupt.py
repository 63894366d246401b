# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Images that show less than they did, in their old sizes, so that a prompt keeps its tokens."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

from PIL import Image

from .fields import ROW, SOURCE
from .overlong.shrink_image import opened
from .plan import Corruption

_AREA, _ASPECT = (0.01, 0.2), (3 / 4, 4 / 3)  # of a crop, of mDPO's code: share of the image, width by height


@dataclass(frozen=True)
class Corrupter:
    """Corrupts the images of tokenized rows.

    What becomes of an image follows from the seed and its row alone: it is the same in every epoch, on every rank and
    after a resume.

    Attributes:
        how: `crop` (a random hundredth to fifth of the image, enlarged), `noise` (random pixels) or `blank` (black).
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
        area = width * height * draw.uniform(*_AREA)
        aspect = math.exp(draw.uniform(*map(math.log, _ASPECT)))
        wide = min(width, max(1, round(math.sqrt(area * aspect))))
        high = min(height, max(1, round(math.sqrt(area / aspect))))
        left, top = draw.randint(0, width - wide), draw.randint(0, height - high)
        return image.resize(image.size, box=(left, top, left + wide, top + high))
