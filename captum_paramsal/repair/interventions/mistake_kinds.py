"""What each mistake may come from: another object, features of the object, the background, or a label in doubt."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from captum_paramsal.batch import Given, ModelInputs
from captum_paramsal.errors import InterventionError
from captum_paramsal.files.kinds import MISTAKE_KINDS
from captum_paramsal.functional import (
    KINDS_OF_MISTAKES,
    MISTAKE_VIEWS,
    KindThresholds,
    Target,
    kind_of_mistake,
    strongest_window,
)
from captum_paramsal.hooks import Output, scored_model
from captum_paramsal.metrics import Boxes, covered, share_interval
from captum_paramsal.repair.interventions.checks import class_scores, require_mistakes
from captum_paramsal.repair.interventions.masked_pixels import Fill, class_probabilities, cover_of
from captum_paramsal.repair.interventions.pixel_regions import chosen_pixels, map_values
from captum_paramsal.summary import Summarized

_TENSORS = ("labels", "predicted", "kinds", "wrong", "true", "spots", "inside", "area")


@dataclass(frozen=True, eq=False, repr=False)
class MistakeKinds(Summarized):
    """N mistakes, each with what it may come from; made by :func:`mistake_kinds`.

    Attributes:
        labels: True classes, ``(N,)`` int64.
        predicted: Predicted classes, ``(N,)`` int64.
        kinds: Places in ``captum_paramsal.functional.KINDS_OF_MISTAKES``, ``(N,)`` int64.
        wrong: Probability of the predicted class, ``(N, 4)`` float64: in the whole image, in the object alone, with the
            object covered, and with the spot covered; NaN for a view that there is not.
        true: The same of the true class, ``(N, 4)``.
        spots: The window outside of the object that holds most of the map, ``(N, 4)`` float64; NaN where the map is 0
            there, or the object covers the image.
        inside: Share of the map's absolute values within the object's boxes, ``(N,)`` float64; NaN for a map of zeros.
        area: Share of the pixels that the boxes cover, ``(N,)`` float64.
        thresholds: Between the kinds.
    """

    labels: Tensor
    predicted: Tensor
    kinds: Tensor
    wrong: Tensor
    true: Tensor
    spots: Tensor
    inside: Tensor
    area: Tensor
    thresholds: KindThresholds

    def __len__(self) -> int:
        return len(self.kinds)

    @property
    def names(self) -> list[str]:
        """Kind of each mistake, in words."""
        return [KINDS_OF_MISTAKES[kind] for kind in self.kinds.tolist()]

    def of(self, kind: str) -> Tensor:
        """Numbers of the mistakes of a kind.

        Raises:
            InterventionError: No such kind.
        """
        if kind not in KINDS_OF_MISTAKES:
            message = f"Expected a kind of mistake, one of {', '.join(KINDS_OF_MISTAKES)}, got {kind!r}."
            raise InterventionError(message)
        return (self.kinds == KINDS_OF_MISTAKES.index(kind)).nonzero()[:, 0]

    def with_thresholds(self, thresholds: KindThresholds) -> MistakeKinds:
        """The same mistakes told apart by other thresholds; no model is run."""
        return replace(self, kinds=kind_of_mistake(self.wrong, self.true, thresholds), thresholds=thresholds)

    def shares(self) -> list[dict[str, Any]]:
        """One row for each kind: how many mistakes are of it, and their share with Wilson's 95 % interval."""
        rows = []
        for place, kind in enumerate(KINDS_OF_MISTAKES):
            hits = self.kinds == place
            low, high = share_interval(hits)
            rows.append(
                {
                    "kind": kind,
                    "mistakes": int(hits.sum()),
                    "share": float(hits.double().mean()),
                    "low": low,
                    "high": high,
                }
            )
        return rows

    def to_table(self) -> list[dict[str, Any]]:
        """One row for each mistake: its kind, and the numbers that it was told by."""
        columns = {"label": self.labels, "predicted": self.predicted}
        for name, values in (("wrong class", self.wrong), ("true class", self.true)):
            columns |= {f"{name}, {view}": values[:, place] for place, view in enumerate(MISTAKE_VIEWS)}
        columns |= {"inside": self.inside, "area": self.area}
        rows = zip(*(values.tolist() for values in columns.values()), strict=True)
        return [
            {"mistake": number, "kind": kind, **dict(zip(columns, row, strict=True))}
            for number, (kind, row) in enumerate(zip(self.names, rows, strict=True))
        ]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a safetensors file; an existing one is replaced only when the new one is complete.

        Raises:
            InterventionError: The file cannot be written.
        """
        tensors = {name: getattr(self, name) for name in _TENSORS}
        MISTAKE_KINDS.save(path, tensors, {"thresholds": asdict(self.thresholds)})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> MistakeKinds:
        """Read a file that was saved, whole or not at all.

        Raises:
            InterventionError: No such file, damaged, truncated, or of another kind.
        """
        return MISTAKE_KINDS.load(path, cls._of)

    @classmethod
    def _of(cls, tensors: dict[str, Tensor], content: dict[str, Any]) -> MistakeKinds:
        kept = {name: tensors[name] for name in _TENSORS}
        return cls(thresholds=KindThresholds(**content["thresholds"]), **kept)

    def _facts(self) -> Mapping[str, Any]:
        shares = {
            row["kind"]: f"{row['mistakes']}, {row['share']:.3f} ({row['low']:.3f} to {row['high']:.3f})"
            for row in self.shares()
        }
        return {"mistakes": len(self)} | shares


def mistake_kinds(
    model: nn.Module,
    images: Given,
    labels: Target,
    maps: Given,
    boxes: Boxes,
    *,
    thresholds: KindThresholds | None = None,
    window: float = 0.1,
    fill: Fill = 0.0,
    output: Output | None = None,
) -> MistakeKinds:
    """Tell what each mistake may come from, by what the classes do when the object or what is around it is covered.

    The rules are in ``docs/methods/mistake_kinds.md``, and how often they are right on photos in
    ``docs/evidence/mistake_kinds.md``.

    Args:
        model: A classifier that returns class scores ``(N, C)``; left as it is.
        images: Mistakes, ``(N, C, H, W)``, as the model takes them.
        labels: Their true classes, ``(N,)``.
        maps: What pixels count for the mistake, ``(N, C, H, W)`` or ``(N, H, W)``, such as those of
            :class:`captum_paramsal.InputSpaceSaliency`; their absolute sum over channels says where the spot is.
        boxes: Of the objects that the label names ``(x0, y0, x1, y1)`` in pixels: ``(N, 4)``, or N tensors ``(B, 4)``.
        thresholds: Between the kinds; by default those of :class:`captum_paramsal.functional.KindThresholds`.
        window: Share of the image's pixels in the spot, in (0, 1]; it has the image's proportions.
        fill: What covers pixels, see :func:`mask_pixels`.
        output: What makes class scores ``(N, C)`` of what the model returns, where it returns something else than
            these or ``logits``.

    Raises:
        InterventionError: An image is no mistake, or ``window`` or ``fill`` is out of its range.
        InputError: Maps or boxes do not fit the images, there are no labels, or the images cannot be scored.

    References:
        Levin et al., *Where do Models go Wrong?*, arXiv 2108.01335, figure 8; the rules are this package's.

    >>> model = nn.Sequential(nn.AdaptiveMaxPool2d(1), nn.Flatten())
    >>> image = torch.zeros(1, 2, 4, 4)
    >>> image[0, 0, 0, 0], image[0, 1, 3, 3] = 3.0, 9.0
    >>> result = mistake_kinds(model, image, torch.tensor([0]), image, torch.tensor([[0, 0, 2, 2]]))
    >>> result.names, result.spots.tolist()
    (['another object'], [[3.0, 3.0, 4.0, 4.0]])
    """
    model = scored_model(model, output)
    if not 0 < window <= 1:
        message = f"Expected `window` in (0, 1], a share of the pixels, got {window}."
        raise InterventionError(message)
    thresholds = KindThresholds() if thresholds is None else thresholds
    batch = ModelInputs.of(images, labels, model=model, only_images=True)
    (images,) = batch.inputs
    scores, true = class_scores(model, batch)
    require_mistakes(scores, true, "Leave them out: only a mistake is of a kind.")
    values = map_values(maps, images).cpu().double().abs()
    inside = chosen_pixels(images, None, boxes, None).cpu()
    spots = _spots(values * ~inside, window)
    predicted, seen, filling = scores.argmax(dim=1), [class_probabilities(model, batch)], cover_of(images, fill)
    for hidden, exists in _hidden(inside, spots):
        shown = images.where(~hidden[:, None].to(images.device), filling)
        chances = class_probabilities(model, replace(batch, inputs=(shown,)))
        seen.append(chances.where(exists[:, None], torch.nan))
    rows, both = torch.arange(len(images)), torch.stack(seen, dim=1)
    wrong, right = (both[rows, :, label.cpu()] for label in (predicted, true))
    total = values.flatten(1).sum(dim=1)
    return MistakeKinds(
        labels=true.cpu(),
        predicted=predicted.cpu(),
        kinds=kind_of_mistake(wrong, right, thresholds),
        wrong=wrong,
        true=right,
        spots=spots,
        inside=(values * inside).flatten(1).sum(dim=1) / total.where(total > 0, torch.nan),
        area=inside.double().mean(dim=(1, 2)),
        thresholds=thresholds,
    )


def _spots(values: Tensor, share: float) -> Tensor:
    height, width = (max(1, round(share**0.5 * side)) for side in values.shape[1:])
    return strongest_window(values, (height, width))


def _hidden(inside: Tensor, spots: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Covered pixels ``(N, H, W)`` of each view after the first, and which images there is such a view of, ``(N,)``."""
    rest, height, width = ~inside, *inside.shape[1:]
    yield rest, torch.ones(len(rest), dtype=torch.bool)
    # An image without anything outside of the object shows nothing when that is covered.
    yield inside, rest.flatten(1).any(dim=1)
    yield covered(spots, (height, width)) & rest, spots.isfinite().all(dim=1)
