"""What a report says of single images, in one form for all tools."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import torch
from torch import Tensor

from captum_paramsal.errors import InputError
from captum_paramsal.report import ComparisonReport, Explanation, TriageReport
from captum_paramsal.report.explain.data import Mistake
from captum_paramsal.sources import ImageSource
from captum_paramsal.viz import display_map

ShownReport: TypeAlias = Explanation | TriageReport | ComparisonReport

TRUE, PREDICTED = "trace_true_class", "trace_predicted_class"


@dataclass(frozen=True)
class ScoredFilter:
    """A filter that stands out in an image.

    Attributes:
        name: Layer and index.
        score: What it is ranked by.
        numbers: What else is said of it.
    """

    name: str
    score: float
    numbers: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class SeenTrace:
    """Where a class score comes from, as shares of what the model sees.

    Attributes:
        label: The class.
        box: x1, y1, x2, y2.
        points: x and y of each pixel; empty where they were not kept.
    """

    label: str
    box: tuple[float, float, float, float]
    points: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True)
class ImageFacts:
    """What is said of one image.

    Attributes:
        position: Its place in the source.
        name: Its name there.
        label: Its true class.
        predicted: The class that the model takes it for.
        confidence: Softmax probability of that; None where it is not known.
        filters: The guiltiest, highest score first.
        numbers: What is counted of it, by name.
        group: The mistakes that it belongs to; empty for none.
        maps: ``(h, w)`` in [0, 1] over what the model sees, by name.
        traces: Where class scores come from, by name.
    """

    position: int
    name: str
    label: str
    predicted: str
    confidence: float | None
    filters: tuple[ScoredFilter, ...] = ()
    numbers: Mapping[str, float] = field(default_factory=dict)
    group: str = ""
    maps: Mapping[str, Tensor] = field(default_factory=dict)
    traces: Mapping[str, SeenTrace] = field(default_factory=dict)


def image_facts(result: ShownReport, images: ImageSource) -> list[ImageFacts]:
    """What a report says of each of its images: of an explanation and a triage, of each mistake.

    Args:
        result: The report.
        images: Those that it was made of.

    Raises:
        InputError: Another kind of report; or other images.
    """
    kinds: Mapping[type[Any], Callable[[Any, ImageSource], Iterator[ImageFacts]]] = {
        Explanation: _of_explanation,
        TriageReport: _of_triage,
        ComparisonReport: _of_comparison,
    }
    described = next((facts for kind, facts in kinds.items() if isinstance(result, kind)), None)
    if described is None:
        names = ", ".join(kind.__name__ for kind in kinds)
        message = f"Expected a report on single images, one of {names}, got {type(result).__name__}."
        raise InputError(message)
    return list(described(result, images))


def _of_explanation(result: Explanation, images: ImageSource) -> Iterator[ImageFacts]:
    for mistake in result.mistakes:
        _require_named(mistake.file, mistake.position, images)
        gradients = result.pixel_gradients.get(mistake.position)
        filters = (
            ScoredFilter(str(one.filter), one.score, {} if one.p_value is None else {"p_value": one.p_value})
            for one in mistake.filters
        )
        yield ImageFacts(
            position=mistake.position,
            name=mistake.file,
            label=result.class_name(mistake.label),
            predicted=result.class_name(mistake.predicted),
            confidence=mistake.confidence,
            filters=tuple(filters),
            numbers={"label_confidence": mistake.label_confidence, "unusual_filters": mistake.unusual},
            maps={} if gradients is None else {"pixels": display_map(gradients)},
            traces=_traces(result, mistake),
        )


def _traces(result: Explanation, mistake: Mistake) -> dict[str, SeenTrace]:
    size = None if result.tracing is None else result.tracing.size
    if mistake.traces is None or size is None:
        return {}
    height, width = size
    seen = {}
    pair = zip((TRUE, PREDICTED), (mistake.label, mistake.predicted), strict=True)
    kept = result.trace_maps.get(mistake.position, (None, None))
    for (name, number), trace, drawn in zip(pair, (mistake.traces.label, mistake.traces.predicted), kept, strict=True):
        if trace.box is not None:
            x1, y1, x2, y2 = trace.box
            # The middle of a pixel lies half of one beside its edge.
            points = tuple(((x + 0.5) / width, (y + 0.5) / height) for y, x in (drawn.points if drawn else ()))
            seen[name] = SeenTrace(
                result.class_name(number), (x1 / width, y1 / height, x2 / width, y2 / height), points
            )
    return seen


def _of_triage(result: TriageReport, images: ImageSource) -> Iterator[ImageFacts]:
    triage, positions = result.triage, _positions([item.name for item in result.items], images)
    guilty = {
        group: tuple(
            ScoredFilter(str(one.filter), one.score, {"coherence": one.coherence, "excess": one.excess})
            for one in triage.guilty(group)
        )
        for group in range(triage.group_count)
    }
    for number, item in enumerate(result.items):
        group = int(triage.groups[number])
        yield ImageFacts(
            position=positions[number],
            name=item.name,
            label=result.class_name(int(triage.labels[number])),
            predicted=result.class_name(int(triage.predicted[number])),
            confidence=float(triage.confidence[number]),
            filters=guilty.get(group, ()),
            numbers={"similarity": float(triage.similarity[number])} if group >= 0 else {},
            group=f"group {group}" if group >= 0 else "",
        )


def _of_comparison(result: ComparisonReport, images: ImageSource) -> Iterator[ImageFacts]:
    comparison, positions = result.comparison, _positions([item.name for item in result.items], images)
    explained = comparison.methods[: len(comparison.agreement)]
    for number, item in enumerate(result.items):
        maps = comparison.maps[comparison.kept.index(number)] if number in comparison.kept else ()
        yield ImageFacts(
            position=positions[number],
            name=item.name,
            label=result.class_name(item.label),
            predicted=result.class_name(int(comparison.predicted[number])),
            confidence=None,
            numbers={
                f"{method} {column.name}": float(comparison.scores[m, c, number])
                for m, method in enumerate(explained)
                for c, column in enumerate(comparison.columns)
                if comparison.scores[m, c, number].isfinite()
            },
            maps={method: _positive(values) for method, values in zip(explained, maps, strict=False)},
        )


def _positive(values: Tensor) -> Tensor:
    """Evidence for the class, as a share of the largest; nothing where none is, or it is not finite."""
    shown = values.detach().cpu().float().nan_to_num(0.0, 0.0, 0.0).clamp(min=0)
    return shown / shown.max().clamp(min=torch.finfo(torch.float32).tiny)


def _require_named(name: str, position: int, images: ImageSource) -> None:
    items = images.items
    if position >= len(items) or items[position].name != name:
        there = f"{items[position].name!r}" if position < len(items) else f"{len(items)} images"
        message = f"Expected the images that the report was made of, with {name!r} at place {position}, got {there}."
        raise InputError(message)


def _positions(names: Sequence[str], images: ImageSource) -> list[int]:
    """Places of images by their names, as the report has them."""
    known = {item.name: position for position, item in enumerate(images.items)}
    missing = [name for name in names if name not in known]
    twice = [name for name, count in Counter(item.name for item in images.items).items() if count > 1]
    strange = next((name for name in names if name in twice), None)
    if missing or strange is not None:
        reason = f"no {missing[0]!r}" if missing else f"several that are called {strange!r}"
        message = f"Expected the images that the report was made of, each with a name of its own, got {reason}."
        raise InputError(message)
    return [known[name] for name in names]
