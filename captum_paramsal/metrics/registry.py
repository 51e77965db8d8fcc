"""The metrics by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from functools import partial
from types import MappingProxyType

from captum_paramsal.errors import ParamsalError
from captum_paramsal.metrics.confidence import IncreaseInConfidence
from captum_paramsal.metrics.deletion import Deletion, Insertion
from captum_paramsal.metrics.infidelity import Infidelity
from captum_paramsal.metrics.metric import Metric
from captum_paramsal.metrics.model_randomisation import ModelRandomisation
from captum_paramsal.metrics.pointing import BoxOverlap, Pointing
from captum_paramsal.metrics.sensitivity import Sensitivity
from captum_paramsal.metrics.sparsity import Sparsity

METRICS: Mapping[str, Callable[[], Metric]] = MappingProxyType(
    {
        "infidelity": Infidelity,
        "infidelity_of_loss": partial(Infidelity, of="loss"),
        "sensitivity": Sensitivity,
        "deletion": Deletion,
        "insertion": Insertion,
        "pointing_game": Pointing,
        "iou": BoxOverlap,
        "increase_in_confidence": IncreaseInConfidence,
        "model_randomisation": ModelRandomisation,
        "sparsity": Sparsity,
    }
)
"""Each metric with its default settings, by the name it has in tables."""


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
