"""Mistakes with the first k filters of a ranking changed, for every k: knocked out, perturbed, or fine-tuned a step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from captum_paramsal.batch import Given, ModelInputs, require_size
from captum_paramsal.errors import InputError, InterventionError
from captum_paramsal.files import Fingerprint
from captum_paramsal.filters import FilterIndex
from captum_paramsal.functional import Loss, Target, cross_entropy
from captum_paramsal.hooks import Output, scored_model
from captum_paramsal.reference import ProcessGroup
from captum_paramsal.repair.interventions.checks import class_scores, label_rows, require_mistakes, top_filters
from captum_paramsal.repair.interventions.edited_scores import EditedModel, Order
from captum_paramsal.repair.interventions.intervention import FineTuneStep, Intervention, KnockOut, Perturbation
from captum_paramsal.repair.interventions.intervention_curve import InterventionCurve
from captum_paramsal.versions import renamed_arguments

Images: TypeAlias = Given


@dataclass(frozen=True, eq=False)
class ControlImages:
    """Correctly classified images on which each change is tried too, to see what it breaks.

    Attributes:
        images: ``(M, ...)``, such as held-out images that the model gets right.
        labels: Their classes, ``(M,)``.
        per_mistake: How many of them, drawn again for every mistake, see its change.
        seed: Fixes the draw.
    """

    images: Images
    labels: Target
    per_mistake: int = 2
    seed: int = 0


@renamed_arguments(bystanders="controls")
def knock_out_curve(
    model: nn.Module,
    images: Images,
    labels: Target,
    ranking: Given,
    filters: FilterIndex,
    *,
    k: int = 50,
    controls: ControlImages | None = None,
    bias: bool = False,
    batch_norm: bool = False,
    internal_batch_size: int = 1,
    show_progress: bool = True,
    output: Output | None = None,
    group: ProcessGroup | None = None,
) -> InterventionCurve:
    """What mistakes become while the first filters of a ranking are set to zero, one after the other.

    Args:
        model: A classifier that returns class scores ``(N, C)``; left as it is.
        images: Mistakes, ``(N, ...)``.
        labels: Their true classes, ``(N,)``.
        ranking: A score for every filter and image, ``(N, F)``, the highest first; ``(F,)`` for one that all share.
        filters: Which filter each score belongs to, such as ``saliency.filters``.
        k: Filters that are changed in the end, K.
        controls: Correctly classified images on which each change is tried too.
        bias: Change the filters' entries of biases too.
        batch_norm: Change the rows of the batch norms after them too.
        internal_batch_size: Images at once, each with up to ``k + 1`` rows; bounds memory, not the result.
        show_progress: Show a progress bar.
        output: What makes class scores ``(N, C)`` of what the model returns, where it returns something else than
            these or ``logits``.
        group: Processes that share the mistakes, such as :meth:`captum_paramsal.reference.ProcessGroup.current`; all
            give the same arguments, and get the same curve. This one alone by default.

    Raises:
        InterventionError: ``filters`` are of another model, ``k`` is above their number, or an image is no mistake.
        InputError: ``ranking`` has another shape or NaN, or the images cannot be scored.

    References:
        Levin et al., *Where do Models go Wrong?*, arXiv 2108.01335, figure 3.
    """
    edited = EditedModel(scored_model(model, output), KnockOut(), bias=bias, batch_norm=batch_norm)
    request = _Request(images, labels, ranking, filters, k, controls, group or ProcessGroup())
    return _curve(edited, request, internal_batch_size, shown=show_progress)


@renamed_arguments(bystanders="controls")
def perturb_curve(
    model: nn.Module,
    images: Images,
    labels: Target,
    ranking: Given,
    filters: FilterIndex,
    *,
    k: int = 50,
    scale: float = 1.0,
    relative: bool = False,
    seed: int = 0,
    controls: ControlImages | None = None,
    bias: bool = False,
    batch_norm: bool = False,
    internal_batch_size: int = 1,
    show_progress: bool = True,
    output: Output | None = None,
    group: ProcessGroup | None = None,
) -> InterventionCurve:
    """What mistakes become while noise is put on the first filters of a ranking, on each once.

    Args:
        model: See :func:`knock_out_curve`, like all that is not named here.
        images: Mistakes.
        labels: Their true classes.
        ranking: ``(N, F)`` or ``(F,)``.
        filters: Of the scores.
        k: Filters that are changed in the end.
        scale: Standard deviation of the noise; with ``relative``, its norm as a share of the filter's own.
        relative: See ``scale``.
        seed: Fixes the noise of each filter, the same for all images.
        controls: Correctly classified images.
        bias: Perturb biases too.
        batch_norm: Perturb the batch norms after them too.
        internal_batch_size: Images at once.
        show_progress: Show a progress bar.
        output: What makes class scores ``(N, C)`` of what the model returns, where it returns something else than
            these or ``logits``.
        group: Processes that share the mistakes.

    Raises:
        InterventionError, InputError: See :func:`knock_out_curve`; ``scale`` is not above 0.

    References:
        Levin et al., arXiv 2108.01335, figure 16. Their program perturbs a filter again for every later k.
    """
    edited = EditedModel(
        scored_model(model, output), Perturbation(scale, relative, seed), bias=bias, batch_norm=batch_norm
    )
    request = _Request(images, labels, ranking, filters, k, controls, group or ProcessGroup())
    return _curve(edited, request, internal_batch_size, shown=show_progress)


@renamed_arguments(bystanders="controls")
def fine_tune_curve(
    model: nn.Module,
    images: Images,
    labels: Target,
    ranking: Given,
    filters: FilterIndex,
    *,
    k: int = 25,
    learning_rate: float = 0.001,
    loss: Loss = cross_entropy,
    controls: ControlImages | None = None,
    bias: bool = False,
    batch_norm: bool = False,
    internal_batch_size: int = 1,
    show_progress: bool = True,
    output: Output | None = None,
    group: ProcessGroup | None = None,
) -> InterventionCurve:
    """What mistakes become while the first filters of a ranking take one step down the gradient of their image's loss.

    The gradient is that of the unchanged model at the true label, in evaluation mode.

    Args:
        model: See :func:`knock_out_curve`, like all that is not named here.
        images: Mistakes.
        labels: Their true classes.
        ranking: ``(N, F)`` or ``(F,)``.
        filters: Of the scores.
        k: Filters that are changed in the end.
        learning_rate: Length of the step.
        loss: Loss per example.
        controls: Correctly classified images.
        bias: Move biases too.
        batch_norm: Move the batch norms after them too.
        internal_batch_size: Images at once.
        show_progress: Show a progress bar.
        output: What makes class scores ``(N, C)`` of what the model returns, where it returns something else than
            these or ``logits``.
        group: Processes that share the mistakes.

    Raises:
        InterventionError, InputError: See :func:`knock_out_curve`; ``learning_rate`` is not above 0.

    References:
        Levin et al., arXiv 2108.01335, figures 6, 14, 15; Wang and Sato, arXiv 2310.17951, figure 4.
    """
    edited = EditedModel(
        scored_model(model, output), FineTuneStep(learning_rate), loss=loss, bias=bias, batch_norm=batch_norm
    )
    request = _Request(images, labels, ranking, filters, k, controls, group or ProcessGroup())
    return _curve(edited, request, internal_batch_size, shown=show_progress)


@dataclass(frozen=True, eq=False)
class _Request:
    """What a curve is asked for."""

    images: Images
    labels: Target
    ranking: Given
    filters: FilterIndex
    k: int
    controls: ControlImages | None
    group: ProcessGroup


def _curve(edited: EditedModel, request: _Request, size: int, *, shown: bool) -> InterventionCurve:
    require_size(size)
    batch = ModelInputs.of(request.images, request.labels, model=edited.model)
    controls = None if request.controls is None else _Controls.of(request.controls, edited.model)
    before, labels = class_scores(edited.model, batch)
    advice = f"Nothing has been {edited.intervention.name}. Leave them out, or give them as `controls`."
    require_mistakes(before, labels, advice)
    chosen = top_filters(request.ranking, request.filters, request.k, len(batch))
    drawn = None if controls is None else _drawn(edited.model, controls, len(batch))
    parts, group = range(0, len(batch), size), request.group

    def changed(start: int) -> tuple[Tensor, Tensor]:
        places = range(start, min(start + size, len(batch)))
        part = batch.part(start, size)
        orders = [
            edited.order(chosen[n], image.inputs[0], label_rows(image)) for n in places for image in (batch.part(n, 1),)
        ]
        scores = edited.scores(part.inputs[0], orders, label_rows(part)).cpu()
        return scores, _broken(edited, controls, drawn, places, orders)

    own = tqdm(group.own(parts), desc=f"filters {edited.intervention.name}", disable=not group.shows(shown))
    scores, broken = zip(*group.in_order(own, changed, "mistakes"), strict=True)
    joined = torch.cat(scores)
    if not bool(joined.isfinite().all()):
        image, step, _ = (~joined.isfinite()).nonzero()[0].tolist()
        message = f"Expected finite class scores, got some that are not for image {image} with {step} filters changed."
        raise InputError(message)
    context = {
        "model": Fingerprint.of(edited.model).short,
        "intervention": _described(edited.intervention),
        "controls": None if controls is None else controls.asked.per_mistake,
    }
    return InterventionCurve.of(edited.intervention.name, joined, labels.cpu(), torch.cat(broken), context)


@dataclass(frozen=True, eq=False)
class _Controls:
    """Control images, as the model takes them."""

    asked: ControlImages
    batch: ModelInputs

    @classmethod
    def of(cls, asked: ControlImages, model: nn.Module) -> _Controls:
        return cls(asked, ModelInputs.of(asked.images, asked.labels, model=model))


def _described(intervention: Intervention) -> dict[str, Any]:
    return {"name": intervention.name, **asdict(intervention)}  # type: ignore[call-overload]


def _drawn(model: nn.Module, controls: _Controls, count: int) -> Tensor:
    """Numbers of the control images of each mistake, ``(count, per_mistake)``."""
    asked, batch = controls.asked, controls.batch
    if not 1 <= asked.per_mistake <= len(batch):
        message = (
            f"Expected `per_mistake` from 1 to {len(batch)}, the number of control images, got {asked.per_mistake}."
        )
        raise InterventionError(message)
    scores, labels = class_scores(model, batch)
    wrong = (scores.argmax(dim=1) != labels).nonzero()[:, 0].tolist()
    if wrong:
        message = (
            f"Expected control images that the model gets right, got {len(wrong)} mistakes, the first of them number "
            f"{wrong[0]}."
        )
        raise InterventionError(message)
    generator = torch.Generator().manual_seed(asked.seed)
    size = asked.per_mistake
    return torch.stack([torch.randperm(len(labels), generator=generator)[:size] for _ in range(count)])


def _broken(
    edited: EditedModel,
    controls: _Controls | None,
    drawn: Tensor | None,
    places: Sequence[int],
    orders: Sequence[Order],
) -> Tensor:
    """Share of its control images that each mistake's change breaks, ``(n, K + 1)``."""
    steps = len(orders[0].slices) + 1
    if controls is None or drawn is None:
        return torch.full((len(orders), steps), torch.nan, dtype=torch.float64)
    shares = []
    for place, order in zip(places, orders, strict=True):
        chosen = controls.batch.chosen(drawn[place])
        rows = label_rows(chosen)
        scores = edited.scores(chosen.inputs[0], [order] * len(chosen), rows)
        shares.append((scores.argmax(dim=2) != rows[:, :1].to(scores.device)).double().mean(dim=0).cpu())
    return torch.stack(shares)
