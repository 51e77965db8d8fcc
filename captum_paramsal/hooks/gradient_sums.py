"""Weight gradients with their signs, summed over groups of examples while a backward pass runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from captum_paramsal.functional.gradient_coherence import coherence
from captum_paramsal.functional.profile import accumulation_type
from captum_paramsal.hooks.gradients import SampleGradients


@dataclass(frozen=True)
class GradientSums:
    """What is left of the weight gradients of many examples, group by group.

    Attributes:
        vectors: Sum of the gradients of each group that has examples, ``(O, M)`` by the name of the layer and the
            group. They are as large as the weights, so that groups without any take no room.
        squares: Sum of their squared lengths, ``(G, O)`` float64 by the name of the layer.
        magnitudes: Sum of their mean absolute values, ``(G, O)`` float64 by the name of the layer.
        counts: Examples of each group, ``(G,)``.
    """

    vectors: Mapping[str, Mapping[int, Tensor]]
    squares: Mapping[str, Tensor]
    magnitudes: Mapping[str, Tensor]
    counts: Tensor

    def __add__(self, other: GradientSums) -> GradientSums:
        """The same over the examples of both."""

        def added(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> dict[str, Tensor]:
            # A layer that no gradient reached in one batch may be reached in another.
            names = dict.fromkeys((*ours, *theirs))
            both = {name: [side[name] for side in (ours, theirs) if name in side] for name in names}
            return {name: parts[0] if len(parts) == 1 else parts[0] + parts[1] for name, parts in both.items()}

        return GradientSums(
            {
                name: _added_up(self.vectors.get(name, {}), other.vectors.get(name, {}))
                for name in dict.fromkeys((*self.vectors, *other.vectors))
            },
            added(self.squares, other.squares),
            added(self.magnitudes, other.magnitudes),
            self.counts + other.counts,
        )

    def to(self, device: str | torch.device) -> GradientSums:
        """The same on another device; what is small is on the CPU anyway."""
        moved = {
            name: {group: vector.to(device) for group, vector in of_layer.items()}
            for name, of_layer in self.vectors.items()
        }
        return replace(self, vectors=moved)

    def of_groups(self, groups: Sequence[int]) -> GradientSums:
        """Some of the groups taken together as one."""

        def together(values: Mapping[str, Tensor]) -> dict[str, Tensor]:
            return {name: value[list(groups)].sum(dim=0, keepdim=True) for name, value in values.items()}

        return replace(
            self,
            vectors={
                name: {0: sum(present[1:], start=present[0])}
                for name, of_layer in self.vectors.items()
                if (present := [of_layer[group] for group in groups if group in of_layer])
            },
            squares=together(self.squares),
            magnitudes=together(self.magnitudes),
            counts=self.counts[list(groups)].sum(dim=0, keepdim=True),
        )

    def coherence(self, layers: Mapping[str, int]) -> Tensor:
        """Coherence of every filter in every group, ``(G, F)`` float64.

        Args:
            layers: Names of the layers in their order, and how many filters each has.
        """
        rows = []
        for group, count in enumerate(self.counts.tolist()):
            parts = [
                coherence(
                    self.vectors[name][group].double().square().sum(dim=1).cpu(), self.squares[name][group], count
                )
                if group in self.vectors.get(name, {})
                else torch.zeros(size, dtype=torch.float64)
                for name, size in layers.items()
            ]
            rows.append(torch.cat(parts))
        return torch.stack(rows)

    def mean_profile(self, layers: Mapping[str, int]) -> Tensor:
        """Mean absolute gradient of every filter, averaged over the examples of each group, ``(G, F)`` float64."""
        parts = [
            self.magnitudes.get(name, torch.zeros(len(self.counts), size, dtype=torch.float64))
            for name, size in layers.items()
        ]
        return torch.cat(parts, dim=1) / self.counts[:, None].clamp(min=1)


def _added_up(ours: Mapping[int, Tensor], theirs: Mapping[int, Tensor]) -> dict[int, Tensor]:
    return {**ours, **{group: ours[group] + vector if group in ours else vector for group, vector in theirs.items()}}


class SummingReduction:
    """Adds up the gradients of one batch, layer by layer; what a recording calls.

    Args:
        groups: Group of each example, from 0, ``(N,)``.
        count: Groups, G.
    """

    def __init__(self, groups: Tensor, count: int) -> None:
        self._groups = groups.cpu()
        self._counts = torch.bincount(self._groups, minlength=count)
        self._vectors: dict[str, dict[int, Tensor]] = {}
        self._squares: dict[str, Tensor] = {}
        self._magnitudes: dict[str, Tensor] = {}

    @property
    def sums(self) -> GradientSums:
        """What has been added up."""
        return GradientSums(self._vectors, self._squares, self._magnitudes, self._counts)

    def __call__(self, name: str, gradients: SampleGradients) -> Tensor:
        """Add a layer's gradients, and return their mean absolute values, ``(N, O)``."""
        vectors: dict[int, Tensor] = {}
        rows, squares = [], []
        for n, group in enumerate(self._groups.tolist()):
            sample = gradients.sample(n)
            sample = sample.to(accumulation_type(sample.dtype))
            vectors[group] = vectors[group] + sample if group in vectors else sample.clone()
            rows.append(gradients.magnitude(sample))
            squares.append(sample.double().square().sum(dim=1))
        self._vectors[name] = vectors
        profile = torch.stack(rows)
        self._squares[name] = self._by_group(torch.stack(squares))
        self._magnitudes[name] = self._by_group(profile)
        return profile

    def _by_group(self, rows: Tensor) -> Tensor:
        """Sums ``(G, O)`` of rows ``(N, O)``."""
        sums = torch.zeros(len(self._counts), rows.shape[1], dtype=torch.float64)
        return sums.index_add_(0, self._groups, rows.double().cpu())
