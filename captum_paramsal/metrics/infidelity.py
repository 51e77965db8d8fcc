"""Infidelity: does a map predict what a change of the image changes in the output?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from captum.metrics import infidelity, infidelity_perturb_func_decorator
from torch import Tensor

from captum_paramsal.errors import InputError
from captum_paramsal.functional import cross_entropy
from captum_paramsal.metrics.metric import Column, Metric
from captum_paramsal.metrics.model_state import forward_only
from captum_paramsal.metrics.perturbations import ImagePerturbation, SquareRemoval
from captum_paramsal.metrics.scoring_case import Case

NOISE = SquareRemoval()
"""Noise on every pixel averages out under the smooth maps of layers, which then score as random maps do."""


@dataclass(frozen=True)
class Infidelity(Metric):
    """Captum's infidelity, in its own unit, and as a share of that of a map of zeros.

    The mean over perturbed copies of ``(map · change of the image - change of the output)²``, the map first scaled to
    predict best where ``normalize`` is on. For a method that multiplies by its inputs, the change of the image is taken
    as a share of the image's distance from the method's baseline, as Captum advises. All methods see the same copies.

    Normalized, the share of a map of zeros is ``1 - cos²`` of predicted and real changes. A map that knows nothing of
    the model has about ``1 - 1/samples``, not 1, for its one scale is fitted to ``samples`` changes.

    Args:
        normalize: Scale each map to its best. Without it the measure depends on the unit of the method.
        samples: Perturbed copies of each image.
        noise: What makes a copy of an image ``(C, H, W)``, with a random generator: by default a square of the image is
            removed, one of the two perturbations of the paper; :class:`GaussianNoise` is the other.
        seed: Of the copies.
        of: The output that has to be predicted: ``"logit"``, the target's score, or ``"loss"``, its cross-entropy, for
            methods that explain the loss.

    Raises:
        InputError: ``samples`` below 1, or another ``of``.

    References:
        Yeh, Hsieh, Suggala, Inouye, Ravikumar: *On the (In)fidelity and Sensitivity of Explanations*, arXiv 1901.09392,
        definition 2.1.
    """

    normalize: bool = True
    samples: int = 10
    noise: ImagePerturbation = NOISE
    seed: int = 0
    of: Literal["logit", "loss"] = "logit"

    def __post_init__(self) -> None:
        require_samples(self.samples)
        if self.of not in ("logit", "loss"):
            message = f"Expected `of` to be 'logit' or 'loss', got {self.of!r}."
            raise InputError(message)

    @property
    def name(self) -> str:
        """``infidelity``, or ``infidelity_of_loss``."""
        return "infidelity" if self.of == "logit" else "infidelity_of_loss"

    @property
    def columns(self) -> tuple[Column, ...]:
        """Infidelity, and its share of that of zeros."""
        what, unit = ("the target's score", "score²") if self.of == "logit" else ("the target's loss", "nats²")
        return (
            Column(self._column, unit, "lower", f"Mean squared error of the map's prediction of changes of {what}."),
            Column(
                f"relative {self._column}",
                "share of that of a map of zeros",
                "lower",
                f"1 where the map predicts nothing of {what}; about {1 - 1 / self.samples:.3g} for a random map."
                if self.normalize
                else f"Below 1 where the map predicts changes of {what} better than no map at all.",
            ),
        )

    def score(self, case: Case) -> dict[str, Tensor]:
        """Infidelity of each map, and its share of that of zeros; the latter is NaN where the output never changes."""
        with forward_only(case.model):
            values, zeros = (self._captums(case, maps) for maps in (case.maps, torch.zeros_like(case.maps)))
        share = values.double() / zeros.double().where(zeros > 0, torch.nan)
        return {self._column: case.judged(values), f"relative {self._column}": case.judged(share)}

    @property
    def _column(self) -> str:
        return "infidelity" if self.of == "logit" else "infidelity of loss"

    def _captums(self, case: Case, maps: Tensor) -> Tensor:
        images, extra = case.batch.inputs[0], case.batch.extra
        forward = case.shared.replaying(case.model)
        target: Tensor | None = case.targets
        if self.of == "loss":
            forward, extra, target = _loss_of(forward), (case.targets, *extra), None
        multiplies = case.explain.multiplies_by_inputs
        decorated = infidelity_perturb_func_decorator(multiplies)
        largest = len(images) * self.samples
        values: Tensor = infidelity(
            forward,
            decorated(PerturbedInputs(case, self.noise, self.seed)),
            images,
            maps,
            baselines=_one_baseline(case.explain.baselines) if multiplies else None,
            additional_forward_args=extra or None,
            target=target,
            n_perturb_samples=self.samples,
            max_examples_per_batch=min(max(case.max_examples_per_batch or largest, len(images)), largest),
            normalize=self.normalize,
        )
        return values


class PerturbedInputs:
    """What Captum's metrics ask for perturbed inputs, once per pass: the seeded copies of the case's images, in order.

    Args:
        case: Whose images.
        noise: What makes a copy.
        seed: Of the copies.
    """

    def __init__(self, case: Case, noise: ImagePerturbation, seed: int) -> None:
        self._case, self._noise, self._seed = case, noise, seed
        self._given = 0

    def __call__(self, inputs: Tensor, baselines: Any = None) -> Tensor:
        """The next copies of each image, for its repetitions in ``inputs``."""
        del baselines
        first, more = self._given, len(inputs) // len(self._case)
        self._given += more
        images = self._case.batch.inputs[0]
        return self._case.shared.copies(images, self._noise, self._seed, range(first, self._given))


def require_samples(samples: int) -> None:
    """Refuse a number of copies that is none."""
    if not isinstance(samples, int) or samples < 1:
        message = f"Expected `samples` to be a whole number of at least 1, got {samples!r}."
        raise InputError(message)


def _loss_of(forward: Callable[..., Tensor]) -> Callable[..., Tensor]:
    return lambda images, labels, *extra: cross_entropy(forward(images, *extra), labels)


def _one_baseline(baselines: Any) -> Any:
    """Of a distribution of baselines, as GradientShap's, its mean."""
    single = baselines[0] if isinstance(baselines, tuple) and len(baselines) == 1 else baselines
    return single.mean(dim=0, keepdim=True) if isinstance(single, Tensor) and single.ndim == 4 else single
