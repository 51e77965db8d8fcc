"""Treating a classifier: training with constraints on what its classes may rely on."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import nn

from captum_paramsal.files import Checkpoint
from captum_paramsal.hooks import Output, scored_model, whole_model
from captum_paramsal.repair.treatment.constrained_layers import all_of
from captum_paramsal.repair.treatment.constraints import Constraints
from captum_paramsal.repair.treatment.patch import Patch
from captum_paramsal.repair.treatment.training import MakeOptimizer, Schedule, Training
from captum_paramsal.repair.treatment.training_items import device_of, require_repeatable
from captum_paramsal.repair.treatment.treatment import Treatment
from captum_paramsal.repair.treatment.treatment_run import TreatmentRun
from captum_paramsal.repair.treatment.weights import trainable_copy


def treat(
    model: nn.Module,
    train_batches: Iterable[Any],
    held_out_batches: Iterable[Any],
    constraints: Constraints | Sequence[Constraints] | None = None,
    *,
    validation_batches: Iterable[Any] | None = None,
    epochs: int = 10,
    learning_rate: float = 0.001,
    momentum: float = 0.9,
    weight_decay: float = 5e-4,
    optimizer: MakeOptimizer | None = None,
    freeze_batch_norm: bool = True,
    allow_worse: bool = False,
    seed: int = 0,
    checkpoint: str | os.PathLike[str] | None = None,
    show_progress: bool = True,
    output: Output | None = None,
) -> Treatment:
    """Train a copy of a classifier with the constraints of Model Doctor, and see what it does to held-out images.

    The loss is the mean cross entropy plus each constraint times its weight. Of all epochs the one with the highest
    accuracy on the validation images (then the lowest loss) is kept; the untreated model is epoch 0, so that the result
    is never worse there than what was given. To know what the constraints do, compare with ``constraints=None``, which
    is fine-tuning with the same budget.

    Args:
        model: A classifier that returns class scores ``(N, C)``; left as it is. Parameters that require no gradient
            stay as they are in the copy, too.
        train_batches: Batches (inputs, labels) or (inputs, labels, foreground), the foreground ``(B, h, w)`` in [0, 1],
            1 everywhere for an image without annotation; a ``DataLoader`` or a list, or an iterator where there is only
            one epoch. What torch draws at random in them, such as the order, follows from ``seed`` and the epoch.
        held_out_batches: Batches (inputs, labels) that the effect is counted on.
        constraints: What the classes may rely on, at one layer or at several; None for plain fine-tuning.
        validation_batches: Batches (inputs, labels) that the best epoch is chosen by; the held-out ones where None.
        epochs: Times that the training batches are gone through.
        learning_rate: At the first step; it falls to 0 along half a cosine.
        momentum: Of the stochastic gradient descent.
        weight_decay: The same.
        optimizer: Makes another optimizer from the list of trained parameters; the three values before are then unused
            and its learning rates fall in the same way.
        freeze_batch_norm: Keep batch norms in evaluation mode, so that images do not mix in the constraints; their
            weights and biases still train.
        allow_worse: Leave the untreated model out of the choice.
        seed: Of whatever is drawn at random.
        checkpoint: File that is written after every epoch, and from which the treatment resumes if it is there:
            interrupted and started again with the same arguments, it ends with the same bits. It stays when all is
            done.
        show_progress: Show a progress bar over the steps.
        output: What makes class scores ``(N, C)`` of what the model returns, where it returns something else than
            these or ``logits``.

    Raises:
        InputError: Batches are empty, can be gone through only once, or do not fit the model or the constraints.
        TargetError: The labels do not name one class per image.
        LayerError: The layer does not exist, is called several times, or gives no feature maps.
        TreatmentError: The loss is not finite, or a constraint cannot have any effect.
        CheckpointError: The checkpoint is damaged, cannot be written, or belongs to another run.

    References:
        Feng et al., Model Doctor: A Simple Gradient Aggregation Strategy for Diagnosing and Treating CNN Classifiers,
        AAAI 2022, arXiv 2112.04934.

    Example:
        >>> model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Tanh(), nn.AvgPool2d(4), nn.Flatten(), nn.Linear(4, 2))
        >>> batches = [(torch.rand(8, 1, 6, 6), torch.arange(8) % 2)]
        >>> relevant = torch.tensor([[True, True, False, False], [False, True, True, False]])
        >>> constraints = Constraints("0", relevant, space=0.0)
        >>> treatment = treat(model, batches, batches, constraints, epochs=1, show_progress=False)
        >>> treatment.after.accuracy >= treatment.before.accuracy
        True
    """
    schedule = Schedule(epochs, learning_rate, momentum, weight_decay, freeze_batch_norm, seed)
    if epochs == 1 and isinstance(train_batches, Iterator):
        train_batches = list(train_batches)
    require_repeatable(train_batches, "train_batches")
    require_repeatable(held_out_batches, "held_out_batches")
    if validation_batches is not None:
        require_repeatable(validation_batches, "validation_batches")
    original = scored_model(model)
    with torch.inference_mode(mode=False), torch.enable_grad():
        treated = trainable_copy(original)
        asked = tuple(each.on(device_of(treated)) for each in all_of(constraints) if each.strengths)
        training = Training(
            scored_model(treated, output), train_batches, schedule, asked, optimizer, show_progress=show_progress
        )
        run = TreatmentRun(training, held_out_batches, validation_batches, allow_worse=allow_worse)
        run.follow(None if checkpoint is None else Checkpoint(checkpoint, run.identity(original)))
        after = run.finish()
    for given, copied in zip(original.modules(), treated.modules(), strict=True):
        copied.training = given.training
    return Treatment(
        model=whole_model(treated),
        patch=Patch.between(original, treated),
        before=run.before,
        after=after,
        history=run.history,
        weights=training.weights,
        best_epoch=run.best_epoch,
        selected_on="held-out" if validation_batches is None else "validation",
    )
