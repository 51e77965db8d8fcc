"""Increase in confidence: is the model more confident in a class when only the box is left to see?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from captum_paramsal.batch import Given, ModelInputs, forward_scores, require_finite_scores, require_size
from captum_paramsal.errors import InputError
from captum_paramsal.functional import Target, detached, scores_at
from captum_paramsal.hooks import Output
from captum_paramsal.metrics.boxes import Boxes, area_share, boxes_per_image, covered
from captum_paramsal.metrics.map_boxes import box_of
from captum_paramsal.metrics.metric import Column, Metric
from captum_paramsal.metrics.model_state import forward_only, scored_function
from captum_paramsal.metrics.scoring_case import Case
from captum_paramsal.metrics.shares import share_interval, share_of


@dataclass(frozen=True, eq=False)
class ConfidenceChange:
    """Confidence in a class for whole images, and with everything outside a box occluded.

    Attributes:
        labels: The class, ``(N,)`` int64.
        before: Softmax probability of the class for the whole image, ``(N,)`` float64.
        after: The same with the outside of the box occluded; NaN where there is no box.
        area_share: Share of the image's pixels in the box, ``(N,)`` float64; 0 where there is no box.
    """

    labels: Tensor
    before: Tensor
    after: Tensor
    area_share: Tensor

    @property
    def empty(self) -> Tensor:
        """Images without a box, ``(N,)`` bool; they count as not increased."""
        return self.after.isnan()

    @property
    def increased(self) -> Tensor:
        """Images in whose class the model is more confident with the outside occluded, ``(N,)`` bool."""
        return self.after > self.before

    @property
    def drop(self) -> Tensor:
        """Share of the confidence that is lost, ``max(0, before - after) / before``, ``(N,)``; NaN without a box."""
        lost = (self.before - self.after).clamp(min=0)
        return lost / self.before.where(self.before > 0, 1.0)

    @property
    def share(self) -> float:
        """Share of images with increased confidence, among all of them."""
        return share_of(self.increased)

    @property
    def interval(self) -> tuple[float, float]:
        """Ends of the share's 95 % interval, see :func:`captum_paramsal.metrics.share_interval`."""
        return share_interval(self.increased)

    def where(self, images: Tensor) -> ConfidenceChange:
        """The change on some of the images: ``(N,)`` bool, or their places."""
        return ConfidenceChange(self.labels[images], self.before[images], self.after[images], self.area_share[images])

    def to_table(self) -> list[dict[str, Any]]:
        """One row per image: label, confidence before and after, increased, drop, area_share, empty."""
        columns = {
            "label": self.labels,
            "before": self.before,
            "after": self.after,
            "increased": self.increased,
            "drop": self.drop,
            "area_share": self.area_share,
            "empty": self.empty,
        }
        rows = zip(*(column.tolist() for column in columns.values()), strict=True)
        return [dict(zip(columns, row, strict=True)) for row in rows]


def increase_in_confidence(
    forward: Callable[..., Tensor],
    inputs: Given,
    boxes: Boxes,
    target: Target = None,
    additional_forward_args: Any = None,
    *,
    baseline: float | Tensor = 0.0,
    internal_batch_size: int | None = None,
    output: Output | None = None,
) -> ConfidenceChange:
    """Occlude everything outside each image's box, and see whether the model is more confident than before.

    A large box is rewarded, since it leaves most of the image as it is: read the share beside the boxes' areas.

    Args:
        forward: A classifier that returns class scores ``(N, C)``, before softmax. A module is scored in evaluation
            mode and left as it was; any other function is called as it is.
        inputs: Images, ``(N, C, H, W)``.
        boxes: One per image, ``(N, 4)``, in their pixels; a row of NaN is no box, which counts as not increased.
        target: Class of each image, as Captum takes it; None for the one predicted for the whole image.
        additional_forward_args: Further arguments of the model; tensors with N rows go with their images.
        baseline: What stands outside the boxes: a number or a tensor that can be broadcast to the inputs. 0 is the
            mean colour of inputs that were normalised by it.
        internal_batch_size: Images in one forward pass; bounds memory, not the result.
        output: What makes class scores ``(N, C)`` of what the model returns, where it returns something else than
            these or ``logits``.

    Raises:
        InputError: Inputs that are no images, not one box for each, boxes that do not lie within them, a baseline of
            another shape, or a model that cannot take the inputs or returns no finite scores.
        TargetError: ``target`` does not name one class per image.

    References:
        Iqbal, Muqeet and Bae, *Visual Interpretation of CNN Prediction Through Layerwise Sequential Selection of
        Discernible Neurons*, IEEE Access 10 (2022), doi 10.1109/ACCESS.2022.3188394, for occlusion outside a
        box; Chattopadhay et al., *Grad-CAM++*, arXiv 1710.11063, for the share and the drop, there with the image
        weighted by the map.

    >>> def brightness(images):
    ...     return torch.stack([images.mean(dim=(1, 2, 3)), torch.zeros(len(images))], dim=1)
    >>> image = torch.full((1, 1, 4, 4), -1.0)
    >>> image[..., :2, :2] = 1.0
    >>> change = increase_in_confidence(brightness, image, torch.tensor([[0, 0, 2, 2]]), target=0)
    >>> change.increased, change.area_share
    (tensor([True]), tensor([0.2500], dtype=torch.float64))
    """
    forward = scored_function(forward, output)
    batch = ModelInputs.of(inputs, target, additional_forward_args, model=forward, only_images=True)
    _require_images(inputs if isinstance(inputs, (tuple, Mapping)) else batch.inputs[0])
    (inputs,) = batch.inputs
    require_size(internal_batch_size)
    size = inputs.shape[2], inputs.shape[3]
    regions = torch.cat(boxes_per_image(boxes, len(inputs), size, may_be_empty=True))
    if len(regions) != len(inputs):
        message = f"Expected one box per image, ({len(inputs)}, 4), got {len(regions)} boxes."
        raise InputError(message)
    outside = _broadcast(baseline, inputs)
    step = internal_batch_size or len(inputs)
    with forward_only(forward):
        parts = [
            _confidences(forward, batch.part(start, step), regions[start:][:step], detached(outside[start:][:step]))
            for start in range(0, len(inputs), step)
        ]
        labels, before, after = (torch.cat(pieces) for pieces in zip(*parts, strict=True))
        return ConfidenceChange(
            labels, before, after.where(~regions[:, 0].isnan(), torch.nan), area_share(regions, size)
        )


@dataclass(frozen=True)
class IncreaseInConfidence(Metric):
    """Is the model more confident in the target when all outside the map's box is occluded; and how large is the box?

    A large box is rewarded, so the area stands beside it. Where the objects' boxes are known, they are the
    baseline.

    Args:
        threshold: The box surrounds what exceeds this share of the map's maximum; None for the box of
            the map's mass, see :func:`captum_paramsal.metrics.box_of`.
        baseline: What the occluded part shows, in units of the inputs; 0 is the mean colour of normalized ones.

    Raises:
        InputError: A threshold below 0, or of 1 and more.

    References:
        See :func:`captum_paramsal.metrics.increase_in_confidence`.
    """

    threshold: float | None = 0.15
    baseline: float = 0.0

    name: ClassVar[str] = "increase_in_confidence"
    columns: ClassVar[tuple[Column, ...]] = (
        Column(
            "increase in confidence",
            "hit",
            "higher",
            "1 where the model is more confident with the map's box alone.",
        ),
        Column("confidence drop", "share", "lower", "Confidence that is lost then; NaN for a map without a box."),
        Column("box area", "share of the image", "", "Area of the map's box."),
    )

    def __post_init__(self) -> None:
        box_of(torch.zeros(1, 1, 1), self.threshold)

    def score(self, case: Case) -> dict[str, Tensor]:
        """Increase, loss and area of each map's box; a map without positive values has none: 0, NaN and 0."""
        return {name: case.judged(values) for name, values in self._of(case, box_of(case.maps, self.threshold)).items()}

    def baselines(self, case: Case) -> Mapping[str, dict[str, Tensor]]:
        """The object's own box, the largest of several."""
        if case.boxes is None:
            return {}
        truth = torch.full((len(case), 4), torch.nan, dtype=torch.float64)
        for place, boxes in case.known_boxes.items():
            truth[place] = boxes[(boxes[:, 2:] - boxes[:, :2]).prod(dim=1).argmax()]
        unknown = truth.isnan().any(dim=1)
        changes = {name: values.double().where(~unknown, torch.nan) for name, values in self._of(case, truth).items()}
        return {"object's box": changes}

    def _of(self, case: Case, boxes: Tensor) -> dict[str, Tensor]:
        change = increase_in_confidence(
            case.model,
            case.images,
            boxes,
            case.targets,
            case.additional_forward_args,
            baseline=self.baseline,
            internal_batch_size=case.max_examples_per_batch,
        )
        return {
            "increase in confidence": change.increased,
            "confidence drop": change.drop,
            "box area": change.area_share,
        }


def _confidences(
    forward: Callable[..., Tensor], batch: ModelInputs, boxes: Tensor, outside: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Label, and its probability for the whole images and for those occluded outside the boxes, ``(N,)`` each."""
    (images,) = batch.inputs
    inside = covered(boxes, (images.shape[2], images.shape[3])).to(images.device)[:, None]
    scores = _scores(forward, images, batch)
    chosen, labels = scores_at(scores, batch.labels)
    rows = labels[:, None] if batch.labels is None else batch.labels
    occluded, _ = scores_at(_scores(forward, torch.where(inside, images, outside), batch), rows)
    labels = labels.cpu()
    before, after = (
        each.cpu().double().softmax(dim=1).gather(1, labels[:, None]).squeeze(1) for each in (chosen, occluded)
    )
    return labels, before, after


def _scores(forward: Callable[..., Tensor], images: Tensor, batch: ModelInputs) -> Tensor:
    return require_finite_scores(forward_scores(forward, replace(batch, inputs=(images,)), binary=True), batch.start)


def _broadcast(baseline: float | Tensor, inputs: Tensor) -> Tensor:
    value = torch.as_tensor(baseline, dtype=inputs.dtype, device=inputs.device).detach()
    try:
        return value.expand(inputs.shape)
    except RuntimeError as error:
        message = (
            f"Expected a `baseline` that can be broadcast to the inputs, {tuple(inputs.shape)}, got "
            f"{tuple(value.shape)}."
        )
        raise InputError(message) from error


def _require_images(inputs: Any) -> None:
    if not isinstance(inputs, Tensor) or inputs.ndim != 4 or 0 in inputs.shape or not inputs.is_floating_point():
        got = f"{inputs.dtype} of shape {tuple(inputs.shape)}" if isinstance(inputs, Tensor) else type(inputs).__name__
        message = f"Expected `inputs` to be images (N, C, H, W), got {got}."
        raise InputError(message)
