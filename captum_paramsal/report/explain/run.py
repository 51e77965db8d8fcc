"""From labelled images to an explanation of every mistake."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce

import torch
from torch import nn

from captum_paramsal.attr import POTSaliency
from captum_paramsal.errors import ParamsalError
from captum_paramsal.profiles import LayerSelection
from captum_paramsal.reference import Reference
from captum_paramsal.report.explain.context import describe
from captum_paramsal.report.explain.curves import CurveSampler
from captum_paramsal.report.explain.data import Mistake
from captum_paramsal.report.explain.job import ExplainJob
from captum_paramsal.report.explain.mistakes import GroupStatistics, Saliency, explain_mistakes
from captum_paramsal.report.explain.pixel_maps import PixelMaps, trace_pixels
from captum_paramsal.report.explain.report import Explanation
from captum_paramsal.report.explain.score_scale import SCORE_SCALES, Method
from captum_paramsal.report.explain.tail_summary import TailSummary, summarize_tails
from captum_paramsal.report.explain.trace_maps import Traces, trace_mistakes
from captum_paramsal.report.shared.predictions import on_device, predict
from captum_paramsal.report.shared.report import About
from captum_paramsal.sources import ImageSource, Picture
from captum_paramsal.stats import TailMethod

_EXAMPLES = 3
"""Filters whose tails are kept whole, to be looked at."""


def explain(
    model: nn.Module,
    images: ImageSource,
    reference: Reference | None = None,
    *,
    method: Method = "parameter",
    fit: TailMethod = "mle",
    top_k: int = 10,
    batch_size: int = 32,
    device: str | torch.device | None = None,
    layers: LayerSelection | None = None,
    classes: Mapping[int, str] | None = None,
    about: About | None = None,
    cards: int = 300,
    pixels: bool = True,
    keep_pixels: bool = False,
    traces: bool = True,
    show_progress: bool = True,
) -> Explanation:
    """Find every image that a classifier gets wrong, the filters behind each mistake, and the pixels behind them.

    Every image is classified once. Every mistake, and for comparison some correctly classified images (256 at most,
    evenly spread; for ``ParameterSaliency`` no more than there are mistakes), is scored at its true label.

    Args:
        model: A classifier, left as it was.
        images: Labelled images, such as ``LabelledPhotos`` or ``LabelledTensors``.
        reference: What every filter usually does; fitted on these very images, correct and incorrect, if None.
        method: ``"parameter"`` for ``ParameterSaliency``, in standard deviations of the reference; ``"pot"`` for
            ``POTSaliency``, in nats, with p-values and a check of them.
        fit: How ``POTSaliency`` fits its tails.
        top_k: Filters that are named per mistake.
        batch_size: Images per forward and backward pass; bounds memory, not the result.
        device: Where to compute; where the model is, if None.
        layers: Layers to score; those of the reference, or every convolution but the class scores, if None.
        classes: Names of the classes.
        about: What model, images and reference are called in the report.
        cards: Mistakes that get a picture and a profile in the report, the surest first; all are in the data.
        pixels: Trace the guilty filters of the mistakes with a card back to pixels (``InputSpaceSaliency``), which
            takes about five training steps for each.
        keep_pixels: Keep these pixel gradients themselves; 4 bytes for each number of each image.
        traces: Follow the scores of the true and of the predicted class of these mistakes back to pixels
            (``DiscernibleNeurons``), which takes about two training steps for each. A model that cannot be traced is
            told in the report.
        show_progress: Show progress bars.

    Raises:
        ParamsalError: A model, images, reference or options that do not go together; see the child raised.
    """
    _require_options(method, fit, top_k=top_k, batch_size=batch_size)
    with on_device(model, device) as place:
        job = ExplainJob(model, images, method, fit, layers, top_k, batch_size, place, show_progress)
        # Built before the first pass, so that a wrong layer or reference shows at once.
        saliency = job.saliency(reference)
        _require_top(top_k, saliency)
        found = predict(model, images, batch_size=batch_size, device=place, show_progress=show_progress)
        parts = (reference,) if reference is not None else job.fit_references(found)
        whole = reduce(Reference.merge, parts)
        saliency = saliency if reference is not None else job.saliency(whole)
        dead = _dead(saliency, whole)
        sampler = CurveSampler(saliency.filters, dead)
        mistakes, wrong = explain_mistakes(job.scoring(saliency), job.wrong(found), cards, sampler, job.tally(saliency))
        right = job.count(saliency, job.compared(found), "correct ones, to compare")
        calibration = job.check(found, parts, right, wrong, given=reference is not None)
        pictures = _pictures(images, mistakes)
        drawn = sorted((one for one in mistakes if one.curve), key=lambda one: -one.prediction_confidence)
        scoring, positions = job.scoring(saliency), sorted(one.position for one in drawn)
        maps = trace_pixels(scoring, positions, pictures, keep=keep_pixels) if pixels else PixelMaps()
        followed = trace_mistakes(scoring, drawn, pictures, classes or {}) if traces else Traces()
    options = {
        "top_k": top_k,
        "batch_size": batch_size,
        "device": str(place),
        "layers": None if layers is None else list(saliency.filters.layers),
        "pixels": pixels,
        "traces": traces,
    }
    seen = {one.label for one in found} | {one.predicted for one in found}
    return Explanation(
        images=len(found),
        mistakes=followed.told(mistakes),
        skipped=tuple(images.skipped),
        filters=saliency.filters,
        correct=right.group(),
        incorrect=wrong.group(),
        classes={number: name for number, name in (classes or {}).items() if number in seen},
        places=sampler.places,
        context=describe(
            saliency,
            whole,
            method=method,
            fit=fit,
            about=about or About(),
            options=options,
            fitted_here=reference is None,
        ),
        dead=tuple(dead),
        tails=_summary(saliency, whole, fit, wrong),
        calibration=calibration,
        tracing=followed.tracing,
        pixel_gradients=maps.gradients,
        pictures=pictures,
        maps=maps.pictures,
        trace_maps=followed.maps,
        neurons=followed.neurons,
    )


def _dead(saliency: Saliency, reference: Reference) -> list[int]:
    """Columns of the filters that have no score of their own."""
    dead = reference.dead | (saliency.tails.rate <= 0) if isinstance(saliency, POTSaliency) else reference.dead
    columns: list[int] = dead.nonzero()[:, 0].tolist()
    return columns


def _summary(saliency: Saliency, reference: Reference, fit: str, wrong: GroupStatistics) -> TailSummary | None:
    if not isinstance(saliency, POTSaliency) or reference.tail is None:
        return None
    often = sorted(wrong.group().appearances.items(), key=lambda entry: (-entry[1], entry[0]))
    return summarize_tails(saliency, reference.tail, fit, [column for column, _ in often[:_EXAMPLES]])


def _pictures(images: ImageSource, mistakes: Sequence[Mistake]) -> dict[int, Picture]:
    shown = ((one.position, images.picture(one.position)) for one in mistakes if one.curve)
    return {position: picture for position, picture in shown if picture is not None}


def _require_options(method: str, fit: str, **sizes: int) -> None:
    for name, value, known in (("method", method, tuple(SCORE_SCALES)), ("fit", fit, ("mle", "exponential"))):
        if value not in known:
            message = f"Expected `{name}` to be one of {', '.join(map(repr, known))}, got {value!r}."
            raise ParamsalError(message)
    for name, size in sizes.items():
        if size < 1:
            message = f"Expected `{name}` to be at least 1, got {size}."
            raise ParamsalError(message)


def _require_top(top_k: int, saliency: Saliency) -> None:
    if top_k > len(saliency.filters):
        message = f"Expected `top_k` of at most {len(saliency.filters)}, the number of filters, got {top_k}."
        raise ParamsalError(message)
