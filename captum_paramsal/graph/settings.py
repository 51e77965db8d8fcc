"""What a trace follows: how neurons are weighed, and how many are kept."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite

from captum_paramsal.errors import ParamsalError


@dataclass(frozen=True)
class TraceWeights:
    """Weights of the three supports in ``Ω = α_suc Z_suc (α_cur Z_cur + α_pre Z_pre)``.

    Only the ratio of ``preceding`` to ``current`` can change what is selected: ``succeeding`` multiplies all candidates
    equally.

    Attributes:
        current: α_cur, of what the neuron contributes to the selected one after it.
        preceding: α_pre, of the largest contribution into the neuron.
        succeeding: α_suc, of the number of selected neurons for which it is the strongest.

    Raises:
        ParamsalError: A weight that is not a number, below 0, or so that Ω would always be 0.
    """

    current: float = 1.0
    preceding: float = 0.1
    succeeding: float = 1.0

    def __post_init__(self) -> None:
        values = (self.current, self.preceding, self.succeeding)
        if not all(isinstance(value, (int, float)) and isfinite(value) and value >= 0 for value in values):
            message = f"Expected weights of at least 0, got {self}."
            raise ParamsalError(message)
        if self.succeeding == 0 or self.current == self.preceding == 0:
            message = (
                f"Expected `succeeding`, and `current` or `preceding`, above 0, got {self}: every score would be 0."
            )
            raise ParamsalError(message)


@dataclass(frozen=True)
class TraceSettings:
    """What a trace follows.

    Attributes:
        weights: How candidates are weighed; None for their contribution alone.
        top_k: Channels kept for each neuron of a convolution.
        linear_top_k: Features kept for each neuron of a linear layer over vectors; None for every positive one.
        places: Places kept of each channel below a pool over the whole map: how many, or which share of the map.
        active_only: Whether only neurons with positive values are candidates.
        single_place: Whether a linear layer over a flattened map keeps one feature alone.
        classes: How many classes the trace starts from, those with the highest scores, where none is named.
        through_maxima: Whether Z_pre of a neuron that is a maximum is that of the neuron it was taken from, and not its
            value.
    """

    weights: TraceWeights | None
    top_k: int
    linear_top_k: int | None
    places: int | float
    active_only: bool
    single_place: bool
    classes: int = 1
    through_maxima: bool = False

    def places_of(self, size: int) -> int:
        """How many places are kept of a map of ``size`` places; at least one."""
        return self.places if isinstance(self.places, int) else max(1, round(self.places * size))
