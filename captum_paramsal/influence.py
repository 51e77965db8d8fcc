"""Whether examples that run beside each other influence each other, as by statistics of the batch."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from captum_paramsal.batch import ModelInputs, forward_scores
from captum_paramsal.errors import ForwardError, ModelError, RandomModelWarning, warn_caller
from captum_paramsal.hooks import takes_batch_statistics


def mixes_examples(model: nn.Module, batch: ModelInputs) -> bool:
    """Whether an example's scores depend on the example beside it, as two runs with another second one show.

    Both runs are of two examples, so that they differ by no more than rounding where the examples are apart.

    Of a model that gives other scores whenever it runs, that is said: its examples are taken one by one, too.

    Args:
        model: In evaluation mode.
        batch: Whose first example is run.
    """
    if takes_batch_statistics(model):
        return True
    twice = batch.chosen(torch.tensor([0, 0]))

    def first_of(pair: ModelInputs) -> Tensor:
        return forward_scores(model, pair)[0].detach()

    try:
        scores = first_of(twice)
        if is_close(first_of(twice.pair()), scores):
            return False
        again = first_of(twice)
    except (ForwardError, ModelError):
        # It takes single examples alone, or says what is wrong when it runs on what was given.
        return True
    if bool(scores.isfinite().all()) and not is_close(again, scores):
        message = (
            "Expected a model that gives the same class scores to the same images in evaluation mode, got others from "
            f"{type(model).__name__} when it ran again: what is said of an image holds for one draw. Often the cause "
            "is `functional.dropout(x)` without `training=self.training`."
        )
        warn_caller(message, RandomModelWarning)
    return True


def is_close(output: Any, scores: Tensor) -> bool:
    """Whether scores are the same but for rounding, which depends on the number of rows."""
    if not isinstance(output, Tensor) or output.shape != scores.shape:
        return False
    tolerance = torch.finfo(scores.dtype).eps ** 0.5 * float(scores.abs().max())
    return bool(((output - scores).abs() <= tolerance).all())
