"""How salient every filter is for a whole set of mistakes: do their gradients ask for the same change?"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from captum_paramsal.batch import Inputs, as_inputs
from captum_paramsal.errors import InputError
from captum_paramsal.filters import Filter, FilterIndex
from captum_paramsal.functional import Loss, Target, cross_entropy, standardize
from captum_paramsal.hooks import GradientSums, Output, scored_model
from captum_paramsal.profiles import FilterProfile, LayerSelection
from captum_paramsal.reference import Reference
from captum_paramsal.reference.data_batches import LoaderItem
from captum_paramsal.stats import Moments, reciprocal_rank_fusion


@dataclass(frozen=True, eq=False)
class SetSaliency:
    """Saliency of every filter for each of G sets of mistakes.

    Attributes:
        filters: Which filter each column belongs to.
        coherence: How far the gradients of a set agree in direction, ``(G, F)`` float64: 1 where all are equal, about 0
            where each mistake asks for another change.
        excess: Mean z-score over the set, ``(G, F)`` float64: how far above the reference's mean the saliency is, in
            the reference's standard deviations.
        pull: Change of the mean loss with a common factor on the filter's weights, ``(G, F)`` float64: above 0 the loss
            falls if the filter gets weaker, below 0 if it gets stronger. 0 for a filter without weights that differ
            from 0.
        counts: Mistakes of each set, ``(G,)``.
    """

    filters: FilterIndex
    coherence: Tensor
    excess: Tensor
    pull: Tensor
    counts: Tensor

    @classmethod
    def of(cls, profile: FilterProfile, sums: GradientSums, usual: Moments) -> SetSaliency:
        """From summed gradients and the reference set's mean and standard deviation of each filter."""
        counts = profile.filters.counts
        excess = standardize(sums.mean_profile(counts), usual.mean, usual.std)
        return cls(profile.filters, sums.coherence(counts), excess, pull(profile, sums), sums.counts)

    @property
    def score(self) -> Tensor:
        """The ranks of coherence, excess and strength of the pull fused, ``(G, F)`` float64.

        Each sees faults that the others do not, see :func:`captum_paramsal.stats.reciprocal_rank_fusion`; at most 3/11,
        for a filter that is first in all three.
        """
        return reciprocal_rank_fusion([self.coherence, self.excess, self.pull.abs()])

    def of_set(self, number: int) -> SetSaliency:
        """That of one set alone."""
        one = slice(number, number + 1)
        return replace(
            self,
            coherence=self.coherence[one],
            excess=self.excess[one],
            pull=self.pull[one],
            counts=self.counts[one],
        )

    def top(self, k: int = 10) -> list[list[Filter]]:
        """The k filters of the highest score of each set."""
        return self.filters.top(self.score, k)


def set_saliency(
    model: nn.Module,
    images: Inputs,
    labels: Target,
    reference: Reference,
    *,
    layers: LayerSelection | None = None,
    loss: Loss = cross_entropy,
    internal_batch_size: int | None = None,
    output: Output | None = None,
) -> SetSaliency:
    """Saliency of every filter for a set of mistakes together.

    For one image, a filter is salient because of what it does wrong, or because the loss is large. Over a set, the
    directions tell these apart: with ``g_i`` the gradient of mistake i's loss with respect to the filter's weights,
    ``coherence = (|Σ g_i|² - Σ |g_i|²) / ((n - 1) Σ |g_i|²)``.

    Args:
        model: A classifier that returns class scores ``(N, C)``; left as it is.
        images: Mistakes that may have one cause, ``(N, ...)``.
        labels: Their true classes, ``(N,)``.
        reference: What the filters usually do in this model; it need not be a healthy one.
        layers: Layers to score; by default those of the reference.
        loss: Loss per example.
        internal_batch_size: Images in one pass; bounds memory, not the result.
        output: What makes class scores ``(N, C)`` of what the model returns, where it returns something else than
            these or ``logits``.

    Returns:
        One set; see ``docs/evidence/planted_faults.md`` for how often it finds a damaged filter.

    Raises:
        InputError: Fewer than two images, or images that cannot be scored.
        ReferenceMismatchError: The reference was taken on other weights, layers or another loss.

    >>> from captum_paramsal import Reference
    >>> from captum_paramsal.demo import load_model, load_scenes, normalize
    >>> model, scenes = load_model(), load_scenes("validation")[:40]
    >>> images = normalize(scenes.images)
    >>> reference = Reference.fit(model, [(images, scenes.labels)], show_progress=False)
    >>> found = set_saliency(model, images[:4], scenes.labels[:4], reference)
    >>> found.score.shape == (1, len(reference.filters)), len(found.top(3)[0])
    (True, 3)
    """
    inputs = as_inputs(scored_model(model, output), images, labels)
    count = len(LoaderItem(inputs))
    if count < 2:
        message = f"Expected at least two images, whose gradients may agree or not, got {count}."
        raise InputError(message)
    profile = FilterProfile(model, reference.filters if layers is None else layers, loss, output=output)
    reference.check_profile(profile)
    together = torch.zeros(count, dtype=torch.int64)
    sums = profile.gradient_sums(together, 1, inputs, labels, None, internal_batch_size)
    return SetSaliency.of(profile, sums, reference.moments)


def pull(profile: FilterProfile, sums: GradientSums) -> Tensor:
    """Change of the mean loss with a common factor on each filter's weights, ``(G, F)`` float64."""
    columns: list[Tensor] = []
    for layer in profile.layers:
        column = torch.zeros(len(sums.counts), profile.filters.counts[layer.name], dtype=torch.float64)
        weights = layer.weight_rows
        for group, vector in sums.vectors.get(layer.name, {}).items():
            mean = vector / sums.counts[group].item()
            column[group] = (mean * weights.to(vector)).sum(dim=1).double().cpu()
        columns.append(column)
    return torch.cat(columns, dim=1)
