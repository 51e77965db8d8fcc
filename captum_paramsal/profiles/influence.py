"""Whether examples that run beside each other influence each other, as by statistics of the batch."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn

from captum_paramsal.batch import ModelInputs, forward_scores
from captum_paramsal.errors import RandomModelWarning, warn_caller
from captum_paramsal.hooks import takes_batch_statistics


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
        if is_close(beside_others, scores):
            return "none"
        repeated = is_close(scores_of_first(same), scores)
    except Exception:  # noqa: BLE001 -- what is wrong is said where the model runs on what it was given
        return None
    return "some" if repeated or not bool(scores.isfinite().all()) else "random"


def is_close(output: Any, scores: Tensor) -> bool:
    """Whether scores are the same but for rounding, which depends on the number of rows."""
    if not isinstance(output, Tensor) or output.shape != scores.shape:
        return False
    tolerance = torch.finfo(scores.dtype).eps ** 0.5 * float(scores.abs().max())
    return bool(((output - scores).abs() <= tolerance).all())
