"""A treatment under way: train, judge, keep the best, and write down how far it has come."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b
from typing import Any

from torch import Tensor, nn

from captum_paramsal.errors import InputError
from captum_paramsal.files import Checkpoint, Fingerprint
from captum_paramsal.repair.treatment.constraints import Constraints
from captum_paramsal.repair.treatment.held_out import HeldOutPredictions
from captum_paramsal.repair.treatment.strengths import measured_weights, require_finite
from captum_paramsal.repair.treatment.training import Training
from captum_paramsal.repair.treatment.weights import copy_state, load_state

_OF_NOISE = ("noise_samples", "noise_range", "noise", "seed")


class TreatmentRun:
    """A treatment under way.

    Args:
        training: The loop, with the copy that is treated.
        held_out: Batches that the effect is counted on.
        validation: Batches that the best epoch is chosen by; None for the held-out ones.
        allow_worse: Leave the untreated model out of the choice.

    Attributes:
        before: Predictions of the untreated model for the held-out images.
        history: One row per epoch.
        best_epoch: The best so far.
    """

    before: HeldOutPredictions
    best_epoch: int

    def __init__(
        self, training: Training, held_out: Iterable[Any], validation: Iterable[Any] | None, *, allow_worse: bool
    ) -> None:
        self.history: list[dict[str, float]] = []
        self._training = training
        self._held_out = held_out
        self._validation = validation
        self._allow_worse = allow_worse
        self._best: dict[str, Tensor] = {}
        self._best_rank = (-1.0, 0.0)

    def identity(self, untreated: nn.Module) -> dict[str, Any]:
        """What makes this treatment this one and no other."""
        chosen = {
            "allow_worse": self._allow_worse,
            "chosen by": "held-out" if self._validation is None else "validation",
        }
        described = [_described(each) for each in self._training.constraints]
        constraints = described if len(described) > 1 else next(iter(described), None)
        return (
            {"base": Fingerprint.of(untreated).short, "constraints": constraints} | chosen | self._training.identity()
        )

    def follow(self, checkpoint: Checkpoint | None) -> None:
        """Resume from the checkpoint, and train to the last epoch.

        Raises:
            ParamsalError: See :func:`captum_paramsal.repair.treatment.treat`.
        """
        state = None if checkpoint is None else checkpoint.load()
        if state is None:
            self._begin()
        else:
            self._resume(state)
        with self._training.progress(len(self.history) - 1) as bar:
            for epoch in range(len(self.history), self._training.schedule.epochs + 1):
                self._judge(epoch, self._training.epoch(epoch, bar))
                if checkpoint is not None:
                    checkpoint.save(self._state())

    def finish(self) -> HeldOutPredictions:
        """Give the copy the weights of the best epoch.

        Returns:
            Its predictions for the held-out images.

        Raises:
            InputError: The held-out labels are others, or in another order, than before.
        """
        model = self._training.model
        load_state(model, self._best)
        for parameter in model.parameters():
            parameter.grad = None
        after = HeldOutPredictions.of(model, self._held_out, "held-out")
        if after.labels.tolist() != self.before.labels.tolist():
            message = (
                "Expected the held-out batches to be the same after the treatment as before, got other labels. Give a "
                "loader that does not shuffle."
            )
            raise InputError(message)
        return after

    def _begin(self) -> None:
        training = self._training
        self.before = HeldOutPredictions.of(training.model, self._held_out, "held-out")
        if training.constrained is not None:
            key = ("training", training.schedule.seed, 1)
            training.weights = measured_weights(training.model, training.batches, training.constrained, *key)
        self._judge(0, {})

    def _judge(self, epoch: int, means: dict[str, float]) -> None:
        """Judge the model as it is after an epoch, and keep it if there was none better."""
        training = self._training
        if self._validation is not None:
            predictions = HeldOutPredictions.of(training.model, self._validation, "validation")
        elif epoch == 0:
            predictions = self.before
        else:
            predictions = HeldOutPredictions.of(training.model, self._held_out, "held-out")
        require_finite({"validation loss": predictions.loss}, f"after epoch {epoch}")
        judged = {"validation_accuracy": predictions.accuracy, "validation_loss": predictions.loss}
        self.history.append({"epoch": epoch} | means | judged)
        rank = (predictions.accuracy, -predictions.loss)
        if rank > self._best_rank or (epoch == 1 and self._allow_worse):
            self._best, self.best_epoch, self._best_rank = copy_state(training.model), epoch, rank

    def _state(self) -> dict[str, Any]:
        training = self._training
        return {
            "model": copy_state(training.model),
            "optimizer": training.optimizer.state_dict(),
            "weights": training.weights,
            "history": self.history,
            "before": dict(vars(self.before)),
            "best": self._best,
            "best_epoch": self.best_epoch,
            "best_rank": list(self._best_rank),
        }

    def _resume(self, state: dict[str, Any]) -> None:
        training = self._training
        load_state(training.model, state["model"])
        training.optimizer.load_state_dict(state["optimizer"])
        training.weights = state["weights"]
        self.history = state["history"]
        self.before = HeldOutPredictions(**state["before"])
        self._best, self.best_epoch = state["best"], state["best_epoch"]
        accuracy, loss = state["best_rank"]
        self._best_rank = (accuracy, loss)


def _described(constraints: Constraints) -> dict[str, Any]:
    relevant = constraints.relevant
    digest = None if relevant is None else blake2b(relevant.cpu().contiguous().numpy().data, digest_size=8).hexdigest()
    values = {**vars(constraints), "relevant": digest}
    # What came later is left out where it has no effect, so that a checkpoint of before it goes on.
    if constraints.rival == "wrong":
        del values["rival"]
    if not constraints.noise_samples:
        values = {name: value for name, value in values.items() if name not in _OF_NOISE}
    return values
