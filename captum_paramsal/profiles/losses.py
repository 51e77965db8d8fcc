"""The loss of each example: cross entropy, or one of the caller's own."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from captum_paramsal.batch import ModelInputs, forward_scores, require_gradient, warn_if_probabilities
from captum_paramsal.errors import InputError, TargetError
from captum_paramsal.functional import Loss, cross_entropy, loss_name, scores_at


def losses_of(model: nn.Module, loss: Loss, batch: ModelInputs) -> tuple[Tensor, Tensor]:
    """Run a model and take the loss.

    Args:
        model: The model, in the state in which it is scored.
        loss: Cross entropy, for which a single logit is a binary classifier; or one of the caller's own, which gets
            the scores and targets as they are.
        batch: Examples with labels, or with targets of such a loss.

    Returns:
        One loss for each example, ``(N,)``, and the class scores.

    Raises:
        InputError: The losses are not one finite number per example, with a gradient.
        TargetError: The labels are no classes, or the loss does not take the targets.
    """
    if loss is not cross_entropy:
        scores = require_gradient(forward_scores(model, batch))
        losses = _by_own_loss(loss, scores, batch)
    else:
        scores, labels = scores_at(require_gradient(forward_scores(model, batch, binary=True)), batch.labels)
        if batch.start == 0:
            warn_if_probabilities(scores, loss)
        losses = loss(scores, labels)
    _require_losses(losses, scores, batch)
    return losses, scores


def _by_own_loss(loss: Loss, scores: Tensor, batch: ModelInputs) -> Any:
    targets = batch.targets
    if targets is None and batch.labels is not None and scores.shape[1:] == (1,) and batch.labels.shape[1] == 1:
        # One score has no classes to count: yes and no, or whatever the loss takes.
        targets = batch.labels[:, 0]
    if targets is None:
        scores, targets = scores_at(scores, batch.labels)
    targets = targets.to(scores.device)
    try:
        return loss(scores, targets)
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        message = (
            f"Expected a `target` that the loss {loss_name(loss)!r} takes, got {targets.dtype} of shape "
            f"{tuple(targets.shape)} for scores {tuple(scores.shape)}: {error}"
        )
        raise TargetError(message) from error


def _require_losses(losses: Any, logits: Tensor, batch: ModelInputs) -> None:
    if not isinstance(losses, Tensor) or losses.shape != (len(batch),):
        got = tuple(losses.shape) if isinstance(losses, Tensor) else f"{losses!r} ({type(losses).__name__})"
        message = f"Expected `loss` to return one loss per example, a tensor of shape ({len(batch)},), got {got}."
        raise InputError(message)
    if logits.requires_grad and not losses.requires_grad:
        message = (
            "Expected `loss` to be differentiable, got losses that need no gradient: nothing depends on the scores."
        )
        raise InputError(message)
    bad = (~torch.isfinite(losses)).nonzero()
    if len(bad):
        example = int(bad[0])
        message = f"Expected a finite loss, got {losses[example].item()} for example {batch.start + example}."
        raise InputError(message)
