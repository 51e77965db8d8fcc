"""Mistakes with their most salient pixels, or a region, covered: what the classes and the guilty filters do then."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import isnan
from typing import Any, ClassVar, Literal, TypeAlias

import torch
from torch import Tensor, nn

from captum_paramsal.batch import Given, ModelInputs
from captum_paramsal.errors import InterventionError
from captum_paramsal.files.kinds import MASKED_PIXELS
from captum_paramsal.files.tensor_file import TensorFile
from captum_paramsal.functional import Target
from captum_paramsal.hooks import Output, scored_model
from captum_paramsal.metrics import Boxes
from captum_paramsal.metrics.image_baselines import BASELINES
from captum_paramsal.repair.interventions.checks import class_scores
from captum_paramsal.repair.interventions.pixel_regions import Which, chosen_pixels
from captum_paramsal.repair.interventions.saved_tensors import SavedTensors
from captum_paramsal.stats import table_of_means

Fill: TypeAlias = Literal["mean", "blur"] | float
_TOP_K = 10
FilterScores: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""From images and labels to scores of the filters, ``(N, F)``, such as ``saliency.attribute``."""


@dataclass(frozen=True, eq=False, repr=False)
class MaskedPixels(SavedTensors):
    """N images before and after some of their pixels were covered.

    Attributes:
        masks: Covered pixels, ``(N, H, W)`` bool.
        images: The images with them covered.
        wrong: Probability of the class that was predicted before, ``(N, 2)`` float64: before, after.
        true: Probability of the true class, ``(N, 2)``.
        corrected: Whether the true class is predicted, ``(N, 2)`` bool.
        guilty: Mean score of the filters that were the highest before, ``(N, 2)``; NaN where it was not asked for.
    """

    _kind: ClassVar[TensorFile] = MASKED_PIXELS

    masks: Tensor
    images: Tensor
    wrong: Tensor
    true: Tensor
    corrected: Tensor
    guilty: Tensor

    def to_table(self, seed: int = 0) -> list[dict[str, Any]]:
        """Mean change of each measure over the images, with its 95 % bootstrap interval."""
        rows = {
            "change of wrong class": self.wrong,
            "change of true class": self.true,
            "corrected": self.corrected.double(),
            "change of guilty filters": self.guilty,
        }
        changes = {name: pair[:, 1] - pair[:, 0] for name, pair in rows.items()}
        return table_of_means(changes, seed, images=len(self.masks))

    def _facts(self) -> dict[str, Any]:
        changes = {
            row["measure"]: f"{row['mean']:.3f} ({row['low']:.3f} to {row['high']:.3f})"
            for row in self.to_table()
            if not isnan(row["mean"])
        }
        return {"images": len(self.masks), "pixels covered": float(self.masks.double().mean())} | changes


def mask_pixels(
    model: nn.Module,
    images: Given,
    labels: Target,
    maps: Given | None = None,
    *,
    boxes: Boxes | None = None,
    masks: Given | None = None,
    share: float = 0.05,
    which: Which = "salient",
    fill: Fill = 0.0,
    filter_scores: FilterScores | None = None,
    top_k: int | None = None,
    seed: int = 0,
    output: Output | None = None,
) -> MaskedPixels:
    """Cover pixels of each image, the most salient of a map or a region of your own, and see what changes.

    Give one of ``maps``, ``boxes`` and ``masks``.

    Args:
        model: A classifier that returns class scores ``(N, C)``; left as it is.
        images: ``(N, C, H, W)``, as the model takes them.
        labels: True classes, ``(N,)``.
        maps: ``(N, C, H, W)`` or ``(N, H, W)``; salient are the largest absolute sums over channels.
        boxes: Regions ``(x0, y0, x1, y1)`` in pixels: one ``(4,)`` for all images, ``(N, 4)``, or N tensors ``(B, 4)``.
        masks: Regions as bool, ``(H, W)`` for all images or ``(N, H, W)``.
        share: Of the pixels, in (0, 1], where they are chosen by ``maps``.
        which: ``"salient"`` pixels, or the region; or as controls equally many of the ``"least"`` salient or of
            ``"random"`` ones.
        fill: What covers them: a number (0 is the data set's mean in normalised images), the image's own ``"mean"``
            colour, or its ``"blur"``.
        filter_scores: Scores filters, such as ``saliency.attribute``, to see whether the guilty ones calm down.
        top_k: How many filters are the guilty ones; if None ten, or all where there are fewer.
        seed: Of the random pixels.
        output: What makes class scores ``(N, C)`` of what the model returns, where it returns something else than
            these or ``logits``.

    Raises:
        InterventionError: An option is out of its range, or none or several of ``maps``, ``boxes`` and ``masks`` are
            given.
        InputError: ``maps`` have another size or values that are not finite, a region is none or lies outside its
            image, there are no labels, or the images cannot be scored.

    References:
        Levin et al., *Where do Models go Wrong?*, arXiv 2108.01335, figures 7, 8, 17 and 20.

    >>> model = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    >>> image = torch.tensor([[[[0.0, 9.0], [0.0, 0.0]], [[1.0, 1.0], [1.0, 1.0]]]])
    >>> found = mask_pixels(model, image, torch.tensor([1]), boxes=torch.tensor([1, 0, 2, 1]))
    >>> found.masks.int().tolist(), found.corrected.tolist()
    ([[[0, 1], [0, 0]]], [[False, True]])
    """
    model = scored_model(model, output)
    batch = ModelInputs.of(images, labels, model=model, only_images=True)
    (images,) = batch.inputs
    covered_pixels = chosen_pixels(images, maps, boxes, masks, share=share, which=which, seed=seed)
    covered = images.where(~covered_pixels[:, None], cover_of(images, fill))
    parts = [replace(batch, inputs=(one,)) for one in (images, covered)]
    both = torch.stack([class_probabilities(model, part) for part in parts], dim=1)
    rows, predicted = torch.arange(len(images)), both[:, 0].argmax(dim=1)
    true = _true(batch)
    return MaskedPixels(
        masks=covered_pixels,
        images=covered,
        wrong=both[rows, :, predicted],
        true=both[rows, :, true],
        corrected=both.argmax(dim=2) == true[:, None],
        guilty=_guilty(filter_scores, images, covered, true.to(images.device), top_k),
    )


def _true(batch: ModelInputs) -> Tensor:
    """True class of each image, on the CPU; :func:`class_scores` refuses batches without."""
    return torch.zeros(len(batch), dtype=torch.int64) if batch.labels is None else batch.labels[:, 0].cpu()


def cover_of(images: Tensor, fill: Fill) -> Tensor:
    """What takes the place of covered pixels, ``(N, C, H, W)``.

    Raises:
        InterventionError: A name that is none.
    """
    if not isinstance(fill, str):
        return torch.full_like(images, fill)
    if fill not in BASELINES:
        message = f"Expected `fill` to be a number, 'mean' or 'blur', got {fill!r}."
        raise InterventionError(message)
    return BASELINES[fill](images)


def class_probabilities(model: nn.Module, batch: ModelInputs) -> Tensor:
    """Probabilities of the classes, ``(N, C)`` float64 on the CPU."""
    scores, _ = class_scores(model, batch)
    return scores.double().softmax(dim=1).cpu()


def _guilty(
    filter_scores: FilterScores | None, images: Tensor, covered: Tensor, labels: Tensor, top_k: int | None
) -> Tensor:
    if filter_scores is None:
        return torch.full((len(images), 2), torch.nan, dtype=torch.float64)
    before, after = (filter_scores(one, labels).detach().double().cpu() for one in (images, covered))
    top_k = min(_TOP_K, before.shape[1]) if top_k is None else top_k
    if not 1 <= top_k <= before.shape[1]:
        message = f"Expected `top_k` from 1 to {before.shape[1]}, the number of filters, got {top_k}."
        raise InterventionError(message)
    chosen = before.topk(top_k, dim=1).indices
    return torch.stack([scores.gather(1, chosen).mean(dim=1) for scores in (before, after)], dim=1)
