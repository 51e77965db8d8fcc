"""Whether examples that run beside each other influence each other, as by statistics of the batch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn

from captum_paramsal.batch import Form, ModelInputs, forward_scores
from captum_paramsal.errors import RandomModelWarning, warn_caller
from captum_paramsal.hooks import takes_batch_statistics

_SAME_SHAPE = 256
"""Roundings between two runs of the same shape: on a processor none, on a GPU sums may come in another order."""
_SAME_SHAPE_HALF, _SAME_SHAPE_HALF_GPU = 0.5, 8
"""The same of half precision, where 256 of them are as large as the scores."""
_HALF = 16


@dataclass
class Influence:
    """Whether the examples of a model's batches influence each other, found out once for each form of them.

    Attributes:
        model: In evaluation mode whenever it is asked for.
    """

    model: nn.Module
    _found: dict[Form, bool] = field(default_factory=dict)

    def within(self, batch: ModelInputs) -> bool:
        """Whether an example's scores depend on those beside it."""
        if batch.form not in self._found:
            self._found[batch.form] = mixes_examples(self.model, batch)
        return self._found[batch.form]


def mixes_examples(model: nn.Module, batch: ModelInputs) -> bool:
    """Whether an example's scores depend on the example beside it, as two runs with another second one show.

    Both runs are of as many examples, so that they differ by no more than rounding where the examples are apart. Of a
    model that gives other scores whenever it runs, that is said: its examples are taken one by one, too.

    Args:
        model: In evaluation mode.
        batch: Whose first example is run.
    """
    if takes_batch_statistics(model):
        return True
    twice = batch.chosen(torch.tensor([0, 0]))
    found = _influence(model, twice, twice.pair())
    if found is None:
        # An exported program may take no other number of examples than there are.
        found = _influence(model, batch.chosen(torch.zeros(len(batch), dtype=torch.int64)), batch)
    if found == "random":
        message = (
            "Expected a model that gives the same class scores to the same images in evaluation mode, got others from "
            f"{type(model).__name__} when it ran again: what is said of an image holds for one draw. Often the cause "
            "is `functional.dropout(x)` without `training=self.training`."
        )
        warn_caller(message, RandomModelWarning)
    return found != "none"


def _influence(model: nn.Module, same: ModelInputs, others: ModelInputs) -> Literal["none", "some", "random"] | None:
    """What others have on the first example, as opposed to copies of itself; None where the model takes neither."""

    def scores_of_first(examples: ModelInputs) -> Tensor:
        return forward_scores(model, examples)[0].detach()

    try:
        scores, beside_others = scores_of_first(same), scores_of_first(others)
        roundings = _of_same_shape(scores)
        if is_close(beside_others, scores, roundings):
            return "none"
        repeated = is_close(scores_of_first(same), scores, roundings)
    except Exception:  # noqa: BLE001 -- what is wrong is said where the model runs on what it was given
        return None
    return "some" if repeated or not bool(scores.isfinite().all()) else "random"


def _of_same_shape(scores: Tensor) -> float:
    """Roundings between two runs of the same shape, of the type of some scores."""
    if torch.finfo(scores.dtype).bits > _HALF:
        return _SAME_SHAPE
    return _SAME_SHAPE_HALF if scores.device.type == "cpu" else _SAME_SHAPE_HALF_GPU


def is_close(output: Any, scores: Tensor, roundings: float | None = None) -> bool:
    """Whether scores are the same but for rounding.

    Args:
        output: What another run returned.
        scores: What one returned.
        roundings: How many of the type's own may lie between, of the largest score; without a number as many as between
            runs of other numbers of rows, whose rounding differs.
    """
    if not isinstance(output, Tensor) or output.shape != scores.shape:
        return False
    rounding = torch.finfo(scores.dtype).eps
    tolerance = rounding**0.5 if roundings is None else roundings * rounding
    return bool(((output - scores).abs() <= tolerance * float(scores.abs().max())).all())
