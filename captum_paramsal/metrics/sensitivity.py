"""Sensitivity: how much does a map change when the image hardly does?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from captum.metrics import sensitivity_max
from torch import Tensor

from captum_paramsal.metrics.infidelity import PerturbedInputs, require_samples
from captum_paramsal.metrics.metric import Column, Metric
from captum_paramsal.metrics.model_state import explaining
from captum_paramsal.metrics.perturbations import UniformNoise
from captum_paramsal.metrics.scoring_case import Case


@dataclass(frozen=True)
class Sensitivity(Metric):
    """Captum's ``sensitivity_max``: the largest change of a map among perturbed copies, as a share of the map's norm.

    A map that is the same everywhere would have a perfect 0, so degenerate maps are NaN. A method that draws random
    numbers changes by these too.

    Args:
        samples: Perturbed copies of each image; each is explained again.
        radius: Largest change of an image's values, in units of the inputs.
        seed: Of the copies, and of what the method draws.

    Raises:
        InputError: ``samples`` below 1, or a ``radius`` not above 0.

    References:
        Yeh, Hsieh, Suggala, Inouye, Ravikumar: *On the (In)fidelity and Sensitivity of Explanations*, arXiv 1901.09392,
        definition 3.1.
    """

    samples: int = 5
    radius: float = 0.02
    seed: int = 0

    name: ClassVar[str] = "sensitivity"
    columns: ClassVar[tuple[Column, ...]] = (
        Column("sensitivity", "share of the map's norm", "lower", "Largest change of the map among perturbed copies."),
    )

    def __post_init__(self) -> None:
        require_samples(self.samples)
        UniformNoise(self.radius)

    def score(self, case: Case) -> dict[str, Tensor]:
        """Sensitivity of each image's map."""
        images, largest = case.batch.inputs[0], len(case) * self.samples
        with explaining(case.model, self.seed):
            values = sensitivity_max(
                _KnownMaps(case),
                images,
                perturb_func=PerturbedInputs(case, UniformNoise(self.radius), self.seed),
                n_perturb_samples=self.samples,
                max_examples_per_batch=min(max(case.max_examples_per_batch or largest, len(case)), largest),
                target=case.targets,
                additional_forward_args=case.batch.further,
            )
        return {"sensitivity": case.judged(values)}


class _KnownMaps:
    """The method of a case, which is not asked again for the maps of the images themselves."""

    def __init__(self, case: Case) -> None:
        self._case, self._first = case, True

    def __call__(self, inputs: Any, **arguments: Any) -> Any:
        if self._first:
            # Captum begins with the images as they are, in a tuple.
            self._first = False
            return (self._case.maps,)
        return self._case.explain(inputs, **arguments)
