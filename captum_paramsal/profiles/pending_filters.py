"""Filters that are known once the model has run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from captum_paramsal.filters import FilterIndex

_STATE = frozenset({"_counts", "_parts", "_starts", "bias"})


class PendingFilters(FilterIndex):
    """The filters of a model that may not have run yet; what they are is found out when it is asked for.

    So that ``saliency.filters.split(saliency.attribute(images))`` reads them after the run.

    Args:
        index: Gives the filters as they are known then.
    """

    def __init__(self, index: Callable[[], FilterIndex]) -> None:
        self._index = index

    def __getattr__(self, name: str) -> Any:
        if name in _STATE:
            return getattr(self._index(), name)
        message = f"{type(self).__name__!r} object has no attribute {name!r}"
        raise AttributeError(message)
