"""What a metric is: columns with a number per image, from one method's maps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from torch import Tensor
from typing_extensions import deprecated

from captum_paramsal.errors import warn_caller
from captum_paramsal.metrics.scoring_case import Case

_OLD_NAME = "`Metric.yardsticks` is now `Metric.baselines`; the old name goes with version 0.3."


@dataclass(frozen=True)
class Column:
    """What one number per image says.

    Attributes:
        name: Unique among all metrics that are named in :data:`captum_paramsal.metrics.METRICS`.
        unit: In words; empty for a pure number.
        better: Which end is the better one; empty where none is.
        description: One sentence.
    """

    name: str
    unit: str
    better: Literal["higher", "lower", ""]
    description: str


class Metric(ABC):
    """One measure of maps. Subclass it, as a frozen dataclass of settings, for one of your own.

    Attributes:
        needs_boxes: Whether it judges nothing without the object's boxes.
    """

    needs_boxes: ClassVar[bool] = False

    @property
    @abstractmethod
    def name(self) -> str:
        """What it is called in tables and on the command line."""

    @property
    @abstractmethod
    def columns(self) -> tuple[Column, ...]:
        """What :meth:`score` returns, in order."""

    @abstractmethod
    def score(self, case: Case) -> dict[str, Tensor]:
        """Judge each map.

        Returns:
            By column name ``(N,)`` float64 on the CPU; NaN for a degenerate map, and for an image that cannot be
            judged.

        Raises:
            InputError: Boxes are needed and there are none, or the model does not take the images.
        """

    def baselines(self, case: Case) -> Mapping[str, dict[str, Tensor]]:
        """What pointing, ordering or boxing without looking at the model scores on the same images.

        Returns:
            By name of the baseline, what :meth:`score` returns for it; none by default.
        """
        del case
        return {}

    yardsticks = deprecated(_OLD_NAME)(baselines)

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "yardsticks" in vars(cls):
            warn_caller(f"{cls.__name__}: {_OLD_NAME}", DeprecationWarning)
            cls.baselines = vars(cls)["yardsticks"]  # type: ignore[method-assign]
        elif "baselines" in vars(cls):
            # Of this class itself, so that an override by the old name may call ``super().yardsticks``.
            cls.yardsticks = deprecated(_OLD_NAME)(vars(cls)["baselines"])

    def unavailable(self, case: Case) -> Mapping[str, str]:
        """Why a column is NaN for all images of the case, by column; empty where all can be judged."""
        del case
        return {}


class CurveMetric(Metric):
    """A metric whose numbers sum up curves, for those who want to see them too.

    Attributes:
        axis_label: What runs along the curves.
    """

    axis_label: ClassVar[str]

    @property
    @abstractmethod
    def axis(self) -> Tensor:
        """Where the points of the curves lie, ``(P,)`` float64, nominally; small images may round them."""

    @abstractmethod
    def curves(self, case: Case) -> dict[str, Tensor]:
        """The curve of each image, ``(N, P)`` float64 by column name; NaN as in :meth:`score`."""

    @abstractmethod
    def summary(self, curves: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What :meth:`score` returns, from the curves."""

    def score(self, case: Case) -> dict[str, Tensor]:
        """Judge each map by its curve."""
        return self.summary(self.curves(case))
