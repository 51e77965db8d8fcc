"""An explanation, as a value that can be saved, loaded and shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor
from typing_extensions import deprecated

from captum_paramsal.files import as_csv, write_atomically
from captum_paramsal.report.explain.data import FILTER_COLUMNS, PIXELS, ExplanationData, ImageGroup
from captum_paramsal.report.explain.page import explain_page
from captum_paramsal.report.shared.folder import PAGE


@dataclass(frozen=True)
class Explanation(ExplanationData):
    """Every mistake of a model on a set of images, and the filters behind it: data, table and page.

    ``write`` makes ``explanation.json``, ``filters.csv`` and ``report.html``; and of pixel gradients that were kept
    ``pixels.safetensors``, with ``gradients`` ``(M, C, H, W)`` and the ``positions`` ``(M,)`` of their images.
    """

    def save_beside(self, folder: Path) -> None:
        """Save the pixel gradients that were kept."""
        if self.pixel_gradients:
            write_atomically(folder, {PIXELS: _packed(self.pixel_gradients)})

    def contents(self) -> dict[str, str | bytes]:
        """Table and page."""
        return {"filters.csv": as_csv(self.to_table(), FILTER_COLUMNS), PAGE: explain_page(self)}

    @property
    @deprecated("`Explanation.correct` is now `Explanation.correct_group`; the old name goes with version 0.3.")
    def correct(self) -> ImageGroup:
        """The former name of ``correct_group``."""
        return self.correct_group

    @property
    @deprecated("`Explanation.incorrect` is now `Explanation.mistake_group`; the old name goes with version 0.3.")
    def incorrect(self) -> ImageGroup:
        """The former name of ``mistake_group``."""
        return self.mistake_group


def _packed(gradients: Mapping[int, Tensor]) -> bytes:
    positions = torch.tensor(sorted(gradients))
    stacked = torch.stack([gradients[position] for position in positions.tolist()])
    packed: bytes = save({"gradients": stacked, "positions": positions})
    return packed
