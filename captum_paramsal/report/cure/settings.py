"""What a report on a cure is made with."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from captum_paramsal.errors import ParamsalError
from captum_paramsal.repair import CureSettings


@dataclass(frozen=True)
class CureReportSettings:
    """What belongs to a report on a cure, apart from model and images.

    Attributes:
        cure: Filters, steps, strengths, the rule.
        pair: True and predicted class of the mistakes that are to be cured; None for any.
        alternatives: Spend the same budget on the whole network, the last layer, the norms, and random filters, too.
        shown: Images of each kind that the page shows.
        limit: Images at most, evenly spread over all; None for all.
        batch_size: Images that are classified at once; bounds memory, not the result.
        device: Where to compute; where the model is, if None.
        show_progress: Show progress bars.

    Raises:
        ParamsalError: A value outside of its range.
    """

    cure: CureSettings = field(default_factory=CureSettings)
    pair: tuple[int, int] | None = None
    alternatives: bool = True
    shown: int = 12
    limit: int | None = None
    batch_size: int = 32
    device: str | torch.device | None = None
    show_progress: bool = True

    def __post_init__(self) -> None:
        for name, least in (("shown", 0), ("limit", 1), ("batch_size", 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                message = f"Expected `{name}` to be at least {least}, got {value}."
                raise ParamsalError(message)
        if self.pair is not None and self.pair[0] == self.pair[1]:
            message = f"Expected a `pair` of two classes, the true and the predicted one, got {self.pair}."
            raise ParamsalError(message)
