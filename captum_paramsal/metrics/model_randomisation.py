"""The sanity check of saliency maps: does a map change when the model forgets what it learned?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from captum_paramsal.errors import InputError
from captum_paramsal.hooks import layers_from_the_end
from captum_paramsal.metrics.map_similarity import NO_SSIM, has_scikit_image, rank_correlation, structural_similarity
from captum_paramsal.metrics.maps import per_pixel
from captum_paramsal.metrics.metric import Column, CurveMetric
from captum_paramsal.metrics.model_state import explaining
from captum_paramsal.metrics.randomised_models import randomised_models
from captum_paramsal.metrics.scoring_case import Case

_CORRELATION, _SSIM = "randomised rank correlation", "randomised SSIM"


@dataclass(frozen=True)
class ModelRandomisation(CurveMetric):
    """How similar a map stays while the model's layers are made random one after the other, the last one first.

    A method that shows what the model learned gives other maps for a random model; one that finds edges gives the same.
    Layers are drawn again by their type's own rule, else from normal values with their own mean and spread. Maps are
    compared by absolute values of their signed sum over the channels. A map that is degenerate at a stage is NaN there.

    Args:
        stages: Stages with about equally many layers each; in the last one the whole model is random.
        seed: Of the random weights, and of what the method draws.

    Raises:
        InputError: ``stages`` below 1.

    References:
        Adebayo, Gilmer, Muelly, Goodfellow, Hardt, Kim: *Sanity Checks for Saliency Maps*, arXiv 1810.03292,
        section 3.1; Levin et al., *Where do Models go Wrong?*, arXiv 2108.01335, figure 23.
    """

    stages: int = 5
    seed: int = 0

    name: ClassVar[str] = "model_randomisation"
    axis_label: ClassVar[str] = "share of layers that are random"
    columns: ClassVar[tuple[Column, ...]] = (
        Column(
            _CORRELATION, "Spearman's correlation", "lower", "Of the map with that of a model whose layers are random."
        ),
        Column(_SSIM, "SSIM", "lower", "Structural similarity of the map with that of a model that is random."),
    )

    def __post_init__(self) -> None:
        if not isinstance(self.stages, int) or self.stages < 1:
            message = f"Expected `stages` to be a whole number of at least 1, got {self.stages!r}."
            raise InputError(message)

    @property
    def axis(self) -> Tensor:
        """Shares of layers that are random, from 0, the trained model, to 1, ``(stages + 1,)``."""
        return torch.linspace(0, 1, self.stages + 1, dtype=torch.float64)

    def curves(self, case: Case) -> dict[str, Tensor]:
        """Similarity to the trained model's map at each stage, ``(N, stages + 1)``; 1 at the first."""
        unavailable = self.unavailable(case)
        shape = len(case), self.stages + 1
        if unavailable.keys() >= {_CORRELATION, _SSIM}:
            return {column.name: torch.full(shape, torch.nan, dtype=torch.float64) for column in self.columns}
        trained, later = per_pixel(case.maps), self._maps(case)
        likeness = {
            _CORRELATION: [rank_correlation(trained, each) for each in (trained, *later)],
            _SSIM: [structural_similarity(trained, each) for each in (trained, *later)],
        }
        return {name: case.judged(torch.stack(values, dim=1)) for name, values in likeness.items()}

    def summary(self, curves: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Similarity at the last stage, where everything is random."""
        return {name: values[:, -1] for name, values in curves.items()}

    def unavailable(self, case: Case) -> Mapping[str, str]:
        """Without a model whose layers are known, or a method to rebuild, nothing is; without scikit-image no SSIM."""
        reason = None
        if not isinstance(case.model, nn.Module):
            reason = "The model is a function; only the layers of a module can be made random."
        elif case.rebuild is None:
            reason = "The method cannot be rebuilt for a random model."
        if reason is not None:
            return {_CORRELATION: reason, _SSIM: reason}
        return {} if has_scikit_image() else {_SSIM: NO_SSIM}

    def _maps(self, case: Case) -> list[Tensor]:
        """One number per pixel at each stage, ``(N, H, W)``; NaN where the map is degenerate."""
        model, rebuild = case.model, case.rebuild
        if not isinstance(model, nn.Module) or rebuild is None:
            return []
        first = case.batch.part(0, 1)
        names = case.shared.made_of(
            first.inputs[0],
            ("layers from the end", model),
            lambda: layers_from_the_end(model, *(each.clone() for each in first.inputs), *first.extra),
        )
        stages = []
        for changed in randomised_models(model, names, self.stages, self.seed):
            with explaining(changed, self.seed):
                extra = case.batch.further
                maps = rebuild(changed)(case.images, target=case.targets, additional_forward_args=extra)
            there = case.explained_by(case.explain, maps)
            stages.append(there.judged(per_pixel(maps)))
        return stages
