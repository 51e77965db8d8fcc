"""From labelled images to an explanation of every mistake."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

from torch import nn

from captum_paramsal.attr import POTSaliency
from captum_paramsal.errors import ParamsalError, warn_caller
from captum_paramsal.hooks import Output, scored_model
from captum_paramsal.reference import Reference
from captum_paramsal.report.explain.calibration import Calibration
from captum_paramsal.report.explain.context import describe
from captum_paramsal.report.explain.curves import CurveSampler, without
from captum_paramsal.report.explain.data import Mistake, NearMistake, usual_suspects
from captum_paramsal.report.explain.exemplar_crops import DrawnExemplars, draw_exemplars
from captum_paramsal.report.explain.job import ExplainJob
from captum_paramsal.report.explain.mistakes import (
    GroupStatistics,
    Saliency,
    explain_mistakes,
    positions_with_cards,
)
from captum_paramsal.report.explain.nearest import MistakeProfiles
from captum_paramsal.report.explain.pixel_maps import PixelMaps, trace_pixels
from captum_paramsal.report.explain.reference_images import ReferenceImages
from captum_paramsal.report.explain.report import Explanation
from captum_paramsal.report.explain.settings import ExplainSettings
from captum_paramsal.report.explain.tail_summary import TailSummary, summarize_tails
from captum_paramsal.report.explain.trace_maps import Traces, trace_mistakes
from captum_paramsal.report.shared.predictions import (
    Prediction,
    caveats_of,
    occurring,
    on_device,
    pictures_of,
    predict,
    require_same_job,
)
from captum_paramsal.report.shared.report import About
from captum_paramsal.sources import ImageSource, Picture, skipped_by_all

_EXAMPLES = 3
"""Filters whose tails are kept whole, to be looked at."""


def explain(
    model: nn.Module,
    images: ImageSource,
    reference: Reference | None = None,
    *,
    settings: ExplainSettings | None = None,
    classes: Mapping[int, str] | None = None,
    about: About | None = None,
    reference_images: ImageSource | None = None,
    output: Output | None = None,
    **former: Any,
) -> Explanation:
    """Find every image that a classifier gets wrong, the filters behind each mistake, and the pixels behind them.

    Every image is classified once. Every mistake, and for comparison some correctly classified images (256 at most,
    evenly spread; for ``ParameterSaliency`` no more than there are mistakes), is scored at its true label.

    In a ``torch.distributed`` group every process calls this with the same model, images and settings. Each reads and
    scores its own share of the batches, and all get the explanation that one process would make.

    Args:
        model: A classifier, left as it was.
        images: Labelled images, such as ``LabelledPhotos`` or ``LabelledTensors``.
        reference: What every filter usually does; fitted on these very images, correct and incorrect, if None.
        settings: Method, layers, what is drawn, sizes, device.
        classes: Names of the classes.
        about: What model, images and reference are called in the report.
        reference_images: The images that a given reference was taken on, for pictures of what the usual suspects look
            for; they are found by name and class, and compared with what the reference kept. By default they are
            looked for among `images`.
        former: The settings one by one, as they were given before version 0.2; deprecated.
        output: What makes class scores ``(N, C)`` of what the model returns, where it returns something else than
            these or ``logits``.

    Raises:
        ParamsalError: A model, images, reference or options that do not go together; see the child raised.
    """
    model = scored_model(model, output)
    settings = _with_former_arguments(settings or ExplainSettings(), former)
    with on_device(model, settings.device) as device:
        require_same_job(model, images, settings)
        job = ExplainJob(model, images, settings, device)
        # Built before the first pass, so that a wrong layer or reference shows at once.
        saliency = job.saliency(reference)
        _require_top(job.top_k(saliency), saliency)
        predictions = predict(
            model, images, batch_size=settings.batch_size, device=device, show_progress=settings.show_progress
        )
        scored = _score(job, saliency, predictions, reference)
        drawn = _draw(job, scored, classes or {}, reference_images)
    return _explanation(job, predictions, scored, drawn, classes=classes, about=about or About())


@dataclass(frozen=True)
class _Scored:
    """What was found out about the filters; statistics are of the mistakes, and of correct images to compare with."""

    saliency: Saliency
    reference: Reference
    given: bool
    dead: Sequence[int]
    places: tuple[float, ...]
    mistakes: tuple[Mistake, ...]
    of_mistakes: GroupStatistics
    of_correct: GroupStatistics
    calibration: Calibration | None
    neighbors: Mapping[int, tuple[NearMistake, ...]]


@dataclass(frozen=True)
class _Drawn:
    pictures: dict[int, Picture]
    maps: PixelMaps
    traces: Traces
    exemplars: DrawnExemplars


def _score(
    job: ExplainJob, saliency: Saliency, predictions: Sequence[Prediction], reference: Reference | None
) -> _Scored:
    parts = (reference,) if reference is not None else job.fit_references(predictions)
    whole = reduce(Reference.merge, parts)
    saliency = saliency if reference is not None else job.saliency(whole)
    dead = _dead(saliency, whole)
    sampler = CurveSampler(saliency.filters, dead)
    statistics = job.statistics(saliency)
    wrong = job.mistakes(predictions)
    scoring, drawn = job.scoring(saliency), positions_with_cards(wrong, job.settings.cards)
    profiles = MistakeProfiles(drawn, without(saliency.filters, dead)[1], scoring.scale.ceiling)
    mistakes = explain_mistakes(scoring, wrong, drawn, sampler, (statistics.add, profiles.add))
    of_correct = job.statistics_of(saliency, job.compared(predictions), "correct images, to compare")
    given = reference is not None
    calibration = job.check(predictions, parts, of_correct, statistics, given=given)
    near = profiles.nearest()
    return _Scored(saliency, whole, given, dead, sampler.places, mistakes, statistics, of_correct, calibration, near)


def _draw(job: ExplainJob, scored: _Scored, classes: Mapping[int, str], reference_images: ImageSource | None) -> _Drawn:
    shown = [mistake for mistake in scored.mistakes if mistake.curve]
    pictures = pictures_of(job.images, [mistake.position for mistake in shown])
    scoring, settings = job.scoring(scored.saliency), job.settings
    maps, traces = PixelMaps(), Traces()
    if settings.pixels:
        positions = sorted(mistake.position for mistake in shown)
        maps = trace_pixels(scoring, positions, pictures, keep=settings.keep_pixels)
    if settings.traces:
        # In the order of the cards: the first ones get figures of their neurons.
        by_confidence = sorted(shown, key=lambda mistake: -mistake.confidence)
        traces = trace_mistakes(scoring, by_confidence, pictures, classes, paths=settings.paths)
    return _Drawn(pictures, maps, traces, _exemplars(job, scored, classes, reference_images))


def _exemplars(
    job: ExplainJob, scored: _Scored, classes: Mapping[int, str], reference_images: ImageSource | None
) -> DrawnExemplars:
    """What the usual suspects look for; not looked at where nobody wants to know."""
    if not scored.given and not job.settings.exemplars:
        return DrawnExemplars()
    batches = job.batches if reference_images is None else replace(job.batches, images=reference_images)
    columns = usual_suspects(scored.of_mistakes.group(), scored.of_correct.group())
    suspects = [scored.saliency.filters[column] for column in columns]
    images, shown = ReferenceImages(batches, same=not scored.given), job.settings.show_progress
    return draw_exemplars(scored.reference, suspects, images, classes, show_progress=shown)


def _explanation(
    job: ExplainJob,
    predictions: Sequence[Prediction],
    scored: _Scored,
    drawn: _Drawn,
    *,
    classes: Mapping[int, str] | None,
    about: About,
) -> Explanation:
    return Explanation(
        images=len(predictions),
        mistakes=drawn.traces.with_traces(scored.mistakes),
        skipped=skipped_by_all(job.images),
        filters=scored.saliency.filters,
        correct_group=scored.of_correct.group(),
        mistake_group=scored.of_mistakes.group(),
        classes=occurring(predictions, classes),
        caveats=caveats_of(predictions),
        places=scored.places,
        context=describe(job, scored.saliency, scored.reference, about=about, fitted_here=not scored.given),
        dead=tuple(scored.dead),
        tails=_summary(scored, job.settings.fit),
        calibration=scored.calibration,
        neighbors=scored.neighbors,
        exemplars=drawn.exemplars.records,
        tracing=drawn.traces.tracing,
        paths=drawn.traces.paths,
        pixel_gradients=drawn.maps.gradients,
        pictures=drawn.pictures,
        maps=drawn.maps.pictures,
        trace_maps=drawn.traces.maps,
        neurons=drawn.traces.neurons,
        path_drawings=drawn.traces.path_drawings,
        crops=drawn.exemplars.pictures,
    )


def _with_former_arguments(settings: ExplainSettings, former: Mapping[str, Any]) -> ExplainSettings:
    if not former:
        return settings
    try:
        changed = replace(settings, **former)
    except TypeError:
        strange = next(name for name in former if name not in ExplainSettings.__dataclass_fields__)
        message = f"explain() got an unexpected keyword argument '{strange}'"
        raise TypeError(message) from None
    given = ", ".join(f"{name}=..." for name in former)
    message = (
        f"The arguments of `explain` are now settings: give `settings=ExplainSettings({given})`; by themselves they go "
        "with version 0.3."
    )
    warn_caller(message, DeprecationWarning)
    return changed


def _dead(saliency: Saliency, reference: Reference) -> list[int]:
    """Columns of the filters that have no score of their own."""
    dead = reference.dead | (saliency.tails.rate <= 0) if isinstance(saliency, POTSaliency) else reference.dead
    columns: list[int] = dead.nonzero()[:, 0].tolist()
    return columns


def _summary(scored: _Scored, fit: str) -> TailSummary | None:
    if not isinstance(scored.saliency, POTSaliency) or scored.reference.tail is None:
        return None
    often = sorted(scored.of_mistakes.group().appearances.items(), key=lambda entry: (-entry[1], entry[0]))
    guiltiest = [column for column, _ in often[:_EXAMPLES]]
    return summarize_tails(scored.saliency, scored.reference.tail, fit, guiltiest)


def _require_top(top_k: int, saliency: Saliency) -> None:
    if top_k > len(saliency.filters):
        message = f"Expected `top_k` of at most {len(saliency.filters)}, the number of filters, got {top_k}."
        raise ParamsalError(message)
