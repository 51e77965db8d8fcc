"""The metrics by name, and a place for one of your own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from functools import partial
from types import MappingProxyType
from typing import TypeVar

from captum_paramsal.errors import InputError, ParamsalError
from captum_paramsal.metrics.box_overlap import BoxOverlap
from captum_paramsal.metrics.deletion import Deletion, Insertion
from captum_paramsal.metrics.increase_in_confidence import IncreaseInConfidence
from captum_paramsal.metrics.infidelity import Infidelity
from captum_paramsal.metrics.irof import IROF
from captum_paramsal.metrics.metric import Metric
from captum_paramsal.metrics.model_randomisation import ModelRandomisation
from captum_paramsal.metrics.pointing_game import Pointing
from captum_paramsal.metrics.road import ROAD
from captum_paramsal.metrics.sensitivity import Sensitivity
from captum_paramsal.metrics.sparsity import Sparsity

MakesMetric = TypeVar("MakesMetric", bound=Callable[[], Metric])

_metrics: dict[str, Callable[[], Metric]] = {}

METRICS: Mapping[str, Callable[[], Metric]] = MappingProxyType(_metrics)
"""Each metric with its default settings, by the name it has in tables."""


def register_metric(make: MakesMetric) -> MakesMetric:
    """Let a metric be asked for by its name, in :func:`captum_paramsal.comparison.compare` and on the command line.

    Args:
        make: Makes the metric with its default settings: a :class:`Metric` all of whose settings have one, or a
            function. The name is the metric's own.

    Returns:
        What was given, so that it may decorate a class.

    Raises:
        InputError: The name, or that of a column, is another metric's.
    """
    metric = make()
    columns = {column.name for known in _metrics.values() for column in known().columns}
    twice = {metric.name} & _metrics.keys() or columns & {column.name for column in metric.columns}
    if twice:
        message = f"Expected a metric with names of its own, got {', '.join(sorted(twice))}, which there is already."
        raise InputError(message)
    _metrics[metric.name] = make
    return make


for _make in (
    Infidelity,
    partial(Infidelity, of="loss"),
    Sensitivity,
    Deletion,
    Insertion,
    ROAD,
    IROF,
    Pointing,
    BoxOverlap,
    IncreaseInConfidence,
    ModelRandomisation,
    Sparsity,
):
    register_metric(_make)


def metric_named(name: str) -> Metric:
    """A metric with its default settings.

    Raises:
        ParamsalError: There is none of this name; the nearest are offered.

    >>> metric_named("deletion")
    Deletion(steps=20, baseline='mean', seed=0)
    """
    if name in METRICS:
        return METRICS[name]()
    near = get_close_matches(str(name), METRICS, n=3, cutoff=0.3) or list(METRICS)
    message = f"Expected the name of a metric, got {name!r}; nearest: {', '.join(map(repr, near))}."
    raise ParamsalError(message)
