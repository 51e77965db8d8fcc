"""From labelled images to an explanation of every mistake."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

import captum_paramsal
from captum_paramsal.attr import ParameterSaliency
from captum_paramsal.errors import ParamsalError
from captum_paramsal.filters import Filter, FilterIndex
from captum_paramsal.fingerprint import Fingerprint
from captum_paramsal.layers import LayerSelection
from captum_paramsal.reference import Reference
from captum_paramsal.report.curves import CurveSampler
from captum_paramsal.report.explanation import Explanation
from captum_paramsal.report.fitting import fit_reference
from captum_paramsal.report.predicting import Prediction, on_device, predict, prepared
from captum_paramsal.report.records import UNUSUAL, About, Group, Mistake, RankedFilter
from captum_paramsal.sources import ImageSource, Picture

__all__ = ["explain"]

_COMPARED = 256
"""Correctly classified images scored for comparison, at most: enough for a mean, and no longer than need be."""


def explain(
    model: nn.Module,
    images: ImageSource,
    reference: Reference | None = None,
    *,
    top_k: int = 10,
    batch_size: int = 32,
    device: str | torch.device | None = None,
    layers: LayerSelection | None = None,
    classes: Mapping[int, str] | None = None,
    about: About | None = None,
    cards: int = 300,
    show_progress: bool = True,
) -> Explanation:
    """Find every image that a classifier gets wrong, and the filters behind each mistake.

    Every image is classified once. Every mistake, and for comparison up to as many correctly classified images
    (256 at most, evenly spread), is scored by ``ParameterSaliency`` at its true label.

    Args:
        model: A classifier, left as it was.
        images: Labelled images, such as ``LabelledPhotos`` or ``LabelledTensors``.
        reference: What every filter usually does; fitted on these very images, correct and incorrect, if None.
        top_k: Filters that are named per mistake.
        batch_size: Images per forward and backward pass; bounds memory, not the result.
        device: Where to compute; where the model is, if None.
        layers: Layers to score; those of the reference, or every convolution but the class scores, if None.
        classes: Names of the classes.
        about: What model, images and reference are called in the report.
        cards: Mistakes that get a picture and a profile in the report, the surest first; all are in the data.
        show_progress: Show progress bars.

    Raises:
        ParamsalError: A model, images, reference or options that do not go together; see the child raised.
    """
    _require_sizes(top_k=top_k, batch_size=batch_size)
    with on_device(model, device) as place:
        # Built before the first pass, so that a wrong layer or reference shows at once.
        saliency = ParameterSaliency(model, reference, layers=layers)
        _require_top(top_k, saliency)
        found = predict(model, images, batch_size=batch_size, device=place, show_progress=show_progress)
        fitted = reference or fit_reference(
            model,
            images,
            [one.position for one in found],
            layers=layers,
            batch_size=batch_size,
            show_progress=show_progress,
        )
        if reference is None:
            saliency = ParameterSaliency(model, fitted)
        dead = tuple(fitted.dead.nonzero()[:, 0].tolist())
        sampler = CurveSampler(saliency.filters, dead)
        scoring = _Scoring(saliency, images, top_k, batch_size, place, show_progress)
        mistakes, incorrect = _explain_mistakes(scoring, found, cards, sampler)
        correct = _score_correct(scoring, found)
    options = {
        "top_k": top_k,
        "batch_size": batch_size,
        "device": str(place),
        "layers": None if layers is None else list(saliency.filters.layers),
    }
    seen = {one.label for one in found} | {one.predicted for one in found}
    return Explanation(
        images=len(found),
        mistakes=mistakes,
        skipped=tuple(images.skipped),
        filters=saliency.filters,
        correct=correct,
        incorrect=incorrect,
        classes={number: name for number, name in (classes or {}).items() if number in seen},
        places=sampler.places,
        context=_context(saliency, fitted, about or About(), options, fitted_here=reference is None),
        dead=dead,
        pictures=_pictures(images, mistakes),
    )


@dataclass(frozen=True)
class _Scoring:
    """How images get to the model: what every pass over them shares."""

    saliency: ParameterSaliency
    images: ImageSource
    top_k: int
    batch_size: int
    device: torch.device
    show_progress: bool

    def scores(
        self, positions: Sequence[int], what: str
    ) -> Iterator[tuple[tuple[int, ...], Tensor, list[list[Filter]]]]:
        """Positions, scores (n, F) on the CPU and top filters of one batch after another."""
        filters = self.saliency.filters
        with tqdm(total=len(positions), desc=what, unit="img", disable=not self.show_progress) as bar:
            for batch in self.images.batches(self.batch_size, positions) if positions else ():
                inputs, labels = prepared(batch, self.saliency.model, self.device)
                scores = self.saliency.attribute(inputs, target=labels).detach().cpu()
                yield batch.positions, scores, filters.top(scores, self.top_k)
                bar.update(len(batch.positions))


class _Tally:
    """A group's means, taken batch by batch so that no profile has to be kept."""

    def __init__(self, filters: FilterIndex) -> None:
        self._filters = filters
        self._total = torch.zeros(len(filters), dtype=torch.float64)
        self._images = self._unusual = 0
        self._appearances: Counter[int] = Counter()

    def add(self, scores: Tensor, top: Sequence[Sequence[Filter]]) -> None:
        self._total += scores.double().sum(dim=0)
        self._images += len(scores)
        self._unusual += int((scores > UNUSUAL).sum())
        self._appearances.update(self._filters.index(one) for row in top for one in row)

    def group(self) -> Group:
        if not self._images:
            return Group()
        mean = tuple(round(value, 5) for value in (self._total / self._images).tolist())
        return Group(self._images, mean, self._unusual / self._images, dict(self._appearances))


def _explain_mistakes(
    scoring: _Scoring, found: Sequence[Prediction], cards: int, sampler: CurveSampler
) -> tuple[tuple[Mistake, ...], Group]:
    wrong = {one.position: one for one in found if one.predicted != one.label}
    surest = sorted(wrong.values(), key=lambda one: -one.confidence)[:cards]
    drawn = {one.position for one in surest}
    filters = scoring.saliency.filters
    tally = _Tally(filters)
    mistakes: list[Mistake] = []
    for positions, scores, top in scoring.scores(list(wrong), "mistakes"):
        tally.add(scores, top)
        for position, row, best, curve in zip(positions, scores, top, sampler(scores), strict=True):
            one, item = wrong[position], scoring.images.items[position]
            mistakes.append(
                Mistake(
                    position=position,
                    file=item.name,
                    label=one.label,
                    prediction=one.predicted,
                    label_confidence=one.label_confidence,
                    prediction_confidence=one.confidence,
                    filters=tuple(RankedFilter(each, row[filters.index(each)].item()) for each in best),
                    unusual=int((row > UNUSUAL).sum()),
                    note=item.note,
                    curve=curve if position in drawn else (),
                )
            )
    return tuple(mistakes), tally.group()


def _score_correct(scoring: _Scoring, found: Sequence[Prediction]) -> Group:
    right = [one.position for one in found if one.predicted == one.label]
    wanted = min(len(right), len(found) - len(right), _COMPARED)
    spread = [right[i * len(right) // wanted] for i in range(wanted)]
    tally = _Tally(scoring.saliency.filters)
    for _, scores, top in scoring.scores(spread, "correct ones, to compare"):
        tally.add(scores, top)
    return tally.group()


def _pictures(images: ImageSource, mistakes: Sequence[Mistake]) -> dict[int, Picture]:
    shown = ((one.position, images.picture(one.position)) for one in mistakes if one.curve)
    return {position: picture for position, picture in shown if picture is not None}


def _context(
    saliency: ParameterSaliency,
    reference: Reference,
    about: About,
    options: Mapping[str, Any],
    *,
    fitted_here: bool,
) -> dict[str, Any]:
    return {
        "versions": {
            "captum_paramsal": captum_paramsal.__version__,
            "captum": version("captum"),
            "torch": torch.__version__,
        },
        "model": {
            "name": about.model or type(saliency.model).__name__,
            "weights": about.weights,
            "fingerprint": Fingerprint.of(saliency.model).short,
        },
        "images": {"origin": about.images, "preprocessing": about.preprocessing},
        "reference": {
            "origin": "these images" if fitted_here else about.reference,
            "fitted_on_these_images": fitted_here,
            "images": reference.count,
            "loss": reference.loss_name,
            "dead_filters": int(reference.dead.sum()),
            "fingerprint": reference.fingerprint.short,
        },
        "parameters": dict(options),
    }


def _require_sizes(**sizes: int) -> None:
    for name, size in sizes.items():
        if size < 1:
            message = f"Expected `{name}` to be at least 1, got {size}."
            raise ParamsalError(message)


def _require_top(top_k: int, saliency: ParameterSaliency) -> None:
    if top_k > len(saliency.filters):
        message = f"Expected `top_k` of at most {len(saliency.filters)}, the number of filters, got {top_k}."
        raise ParamsalError(message)
