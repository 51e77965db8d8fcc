"""IROF: how soon is the class gone when whole segments of an image go, in the order of a map?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from captum_paramsal.errors import InputError
from captum_paramsal.metrics.image_baselines import BASELINES, require_baseline
from captum_paramsal.metrics.map_similarity import has_scikit_image
from captum_paramsal.metrics.maps import per_pixel
from captum_paramsal.metrics.metric import Column, Metric
from captum_paramsal.metrics.pixel_order import areas_under, confidence_along, random_maps
from captum_paramsal.metrics.scoring_case import Case
from captum_paramsal.metrics.segments import NO_SEGMENTS, segment_ranks, segments_of


@dataclass(frozen=True)
class IROF(Metric):
    """Iterative removal of features: area over the curve of the target's probability while segments go, best first.

    The image is cut into segments of similar pixels, which go one after the other, those with the highest mean of the
    map first. The curve is the target's probability as a share of that for the whole image, over the share of segments
    that are gone: 1 is a class that is gone at once, and below 0 is one that the model believes in more. It needs
    scikit-image.

    Args:
        segments: About how many, see :func:`segments_of`.
        baseline: What is seen in their place: ``"mean"``, the image's mean colour, or ``"blur"``, the image blurred.
        seed: Of the random order.

    Raises:
        InputError: ``segments`` below 1, or another baseline.

    References:
        Rieger, Hansen: *IROF: a low resource evaluation metric for explanation methods*, arXiv 2003.08747.
    """

    segments: int = 100
    baseline: Literal["blur", "mean"] = "mean"
    seed: int = 0

    name: ClassVar[str] = "irof"
    columns: ClassVar[tuple[Column, ...]] = (
        Column("IROF", "area over the curve", "higher", "How soon the target is gone while the map's segments go."),
    )

    def __post_init__(self) -> None:
        if not isinstance(self.segments, int) or self.segments < 1:
            message = f"Expected `segments` to be a whole number of at least 1, got {self.segments!r}."
            raise InputError(message)
        require_baseline(self.baseline)

    def score(self, case: Case) -> dict[str, Tensor]:
        """Area over the curve of each map; NaN too where the target's probability is 0 from the start."""
        return {"IROF": case.judged(self._areas(case, per_pixel(case.maps.nan_to_num())))}

    def baselines(self, case: Case) -> Mapping[str, dict[str, Tensor]]:
        """Segments in a random order."""
        return {"random order": {"IROF": self._areas(case, random_maps(case, self.seed))}}

    def unavailable(self, case: Case) -> Mapping[str, str]:
        """Without scikit-image there are no segments."""
        del case
        return {} if has_scikit_image() else {"IROF": NO_SEGMENTS}

    def _areas(self, case: Case, values: Tensor) -> Tensor:
        """Area over the curve while segments go in the order of some values ``(N, H, W)``, ``(N,)``."""
        if self.unavailable(case):
            return torch.full((len(case),), torch.nan, dtype=torch.float64)
        images = case.batch.inputs[0]
        cut = case.shared.made_of(images, ("segments", self.segments), lambda: segments_of(images, self.segments))
        ranks, counts = segment_ranks(values, cut)
        points = torch.arange(int(counts.max()) + 1)
        curves = confidence_along(case, ranks, images, BASELINES[self.baseline](images), points)
        shares = curves / curves[:, :1].where(curves[:, :1] > 0, torch.nan)
        # Images with fewer segments than others have gone through all of theirs before the last point.
        return torch.stack(
            [1 - areas_under(row[None, : count + 1])[0] for row, count in zip(shares, counts, strict=True)]
        )
