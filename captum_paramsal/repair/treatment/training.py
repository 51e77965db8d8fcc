"""The loop that a treatment trains a model in, epoch by epoch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from math import cos, isfinite, pi
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.optim import SGD, Optimizer
from tqdm import tqdm

from captum_paramsal.errors import InputError
from captum_paramsal.repair.treatment.constrained_layers import ConstrainedLayers
from captum_paramsal.repair.treatment.constraints import Constraints
from captum_paramsal.repair.treatment.strengths import loss_terms, require_finite
from captum_paramsal.repair.treatment.training_items import count_of, naming, require_some, same_every_time

MakeOptimizer: TypeAlias = Callable[[list[nn.Parameter]], Optimizer]

_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


@dataclass(frozen=True)
class Schedule:
    """How long and how fast a model is trained.

    Attributes:
        epochs: Times that the batches are gone through.
        learning_rate: At the first step; it falls to 0 along half a cosine.
        momentum: Of the stochastic gradient descent.
        weight_decay: The same.
        freeze_batch_norm: Keep batch norms in evaluation mode, so that images do not mix; their weights still train.
        seed: Of whatever is drawn at random.

    Raises:
        InputError: A value is outside its range.
    """

    epochs: int
    learning_rate: float
    momentum: float
    weight_decay: float
    freeze_batch_norm: bool
    seed: int

    def __post_init__(self) -> None:
        if not isinstance(self.epochs, int) or self.epochs < 1:
            message = f"Expected `epochs` to be a whole number of at least 1, got {self.epochs!r}."
            raise InputError(message)
        for name in ("learning_rate", "momentum", "weight_decay"):
            value = getattr(self, name)
            if not isfinite(value) or value < 0:
                message = f"Expected `{name}` to be a number from 0 on, got {value!r}."
                raise InputError(message)

    def factor(self, epoch: int, step: int, steps: int | None) -> float:
        """Share of the first learning rate that a step has; steps count from 0, epochs from 1.

        >>> Schedule(2, 0.1, 0.9, 0.0, True, 0).factor(2, 0, 10)
        0.5
        """
        within = 0.0 if not steps else min(step / steps, 1.0)
        return round((1 + cos(pi * (epoch - 1 + within) / self.epochs)) / 2, 12)


@dataclass(eq=False)
class Training:
    """A model that is being trained.

    Attributes:
        model: What is trained, in place.
        batches: The training batches.
        schedule: How long and how fast.
        constraints: What is asked of layers besides a low loss.
        make_optimizer: Makes an optimizer for the trained parameters; stochastic gradient descent where None.
        weights: Weight of each constraint in the loss.
        show_progress: Show a progress bar over the steps.
    """

    model: nn.Module
    batches: Iterable[Any]
    schedule: Schedule
    constraints: tuple[Constraints, ...]
    make_optimizer: MakeOptimizer | None = None
    weights: dict[str, float] = field(default_factory=dict)
    show_progress: bool = True

    def __post_init__(self) -> None:
        self._parameters = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        self.constrained = ConstrainedLayers(self.constraints) if self.constraints else None
        schedule = self.schedule
        self.optimizer = (
            SGD(self._parameters, schedule.learning_rate, schedule.momentum, weight_decay=schedule.weight_decay)
            if self.make_optimizer is None
            else self.make_optimizer(self._parameters)
        )
        self._first_rates = [float(group["lr"]) for group in self.optimizer.param_groups]
        self._steps = count_of(self.batches)

    def identity(self) -> dict[str, Any]:
        """What makes this training this one and no other."""
        optimizer = {name: value for name, value in self.optimizer.defaults.items() if not isinstance(value, Tensor)}
        return {"schedule": asdict(self.schedule), "optimizer": f"{type(self.optimizer).__name__} {optimizer}"}

    @contextmanager
    def progress(self, done: int) -> Iterator[tqdm[Any]]:
        """A progress bar over all steps, of which so many epochs' are done."""
        steps = self._steps or 0
        total = steps * self.schedule.epochs or None
        with tqdm(
            total=total, initial=done * steps, desc="treatment", unit="step", disable=not self.show_progress
        ) as bar:
            yield bar

    def epoch(self, number: int, bar: tqdm[Any]) -> dict[str, float]:
        """Train for one epoch, counted from 1.

        Returns:
            Mean of the loss and of each constraint, without its weight, over the images.

        Raises:
            TreatmentError: The loss is no longer finite.
            InputError: There are no batches.
        """
        sums: dict[str, float] = {}
        images = 0
        self._training_mode()
        watching = nullcontext() if self.constrained is None else self.constrained.watched(self.model)
        with watching, same_every_time(self.batches, self.model, "training", self.schedule.seed, number) as batches:
            for step, batch in enumerate(batches):
                with naming(step, "training"):
                    terms = loss_terms(self.model, batch, self.constrained)
                values = self._step(terms, number, step)
                images += len(batch.inputs)
                sums = {name: sums.get(name, 0.0) + value * len(batch.inputs) for name, value in values.items()}
                bar.set_postfix(
                    {"epoch": number} | {name: f"{value:.3g}" for name, value in values.items()}, refresh=False
                )
                bar.update()
        require_some(images, "training")
        return {name: total / images for name, total in sums.items()}

    def _step(self, terms: dict[str, Tensor], epoch: int, step: int) -> dict[str, float]:
        total = terms["loss"] + sum(weight * terms[name] for name, weight in self.weights.items())
        numbers = torch.stack([term.detach() for term in (*terms.values(), total)]).tolist()
        values = dict(zip((*terms, "total"), numbers, strict=True))
        require_finite(values, f"in epoch {epoch}, step {step + 1}" + (f" of {self._steps}" if self._steps else ""))
        for group, rate in zip(self.optimizer.param_groups, self._first_rates, strict=True):
            group["lr"] = rate * self.schedule.factor(epoch, step, self._steps)
        self.optimizer.zero_grad()
        torch.autograd.backward(total, inputs=self._parameters)
        self.optimizer.step()
        return values

    def _training_mode(self) -> None:
        self.model.train()
        if self.schedule.freeze_batch_norm:
            for module in self.model.modules():
                if isinstance(module, _BATCH_NORMS):
                    module.eval()
