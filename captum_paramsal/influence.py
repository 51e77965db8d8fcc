"""Whether examples that run beside each other influence each other, as by statistics of the batch."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from captum_paramsal.batch import ModelInputs, forward_scores
from captum_paramsal.errors import ForwardError, ModelError
from captum_paramsal.hooks import takes_batch_statistics


def mixes_examples(model: nn.Module, batch: ModelInputs) -> bool:
    """Whether an example's scores depend on the example beside it, as two runs with another second one show.

    Both runs are of two examples, so that they differ by no more than rounding where the examples are apart.

    Args:
        model: In evaluation mode.
        batch: Whose first example is run.
    """
    if takes_batch_statistics(model):
        return True
    twice = batch.chosen(torch.tensor([0, 0]))
    try:
        with torch.no_grad():
            scores, others = (forward_scores(model, pair)[0] for pair in (twice, twice.pair()))
    except (ForwardError, ModelError):
        # It takes single examples alone, or says what is wrong when it runs on what was given.
        return True
    return not is_close(others, scores)


def is_close(output: Any, scores: Tensor) -> bool:
    """Whether scores are the same but for rounding, which depends on the number of rows."""
    if not isinstance(output, Tensor) or output.shape != scores.shape:
        return False
    tolerance = torch.finfo(scores.dtype).eps ** 0.5 * float(scores.abs().max())
    return bool(((output - scores).abs() <= tolerance).all())
