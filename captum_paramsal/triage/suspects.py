"""Which filters made a set of mistakes: four kinds of evidence, fused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from captum_paramsal.batch import Inputs, ModelInputs, forward_scores
from captum_paramsal.errors import InputError
from captum_paramsal.filters import Filter, FilterIndex
from captum_paramsal.functional import Loss, Target, cross_entropy, peer_deviation, statistics_drift
from captum_paramsal.hooks import Output, frozen_eval, norm_inputs, scored_model
from captum_paramsal.profiles import FilterProfile, LayerSelection, ablated_margins
from captum_paramsal.reference import Reference
from captum_paramsal.stats import reciprocal_rank_fusion
from captum_paramsal.summary import Summarized
from captum_paramsal.triage.set_saliency import SetSaliency, set_saliency

ABLATED_MISTAKES = 12
"""Mistakes whose margins are looked at when filters are ablated: more hardly change the order of the first."""


@dataclass(frozen=True, eq=False, repr=False)
class Suspects(Summarized):
    """Evidence against every filter after a set of mistakes.

    Attributes:
        filters: Which filter each value belongs to.
        saliency: What the mistakes' gradients say, see :class:`SetSaliency`; one set.
        effect: Mean change of the mistakes' margins without the filter, in nats: above 0, they are nearer to their true
            class without it. NaN where it was not ablated. ``(F,)`` float64.
        drift: How far the filter's output on right images is from what the batch norm behind it keeps, in nats
            (:func:`~captum_paramsal.functional.statistics_drift`). NaN without such a norm. ``(F,)`` float64.
        deviation: How far the norm of its weights is from its layer's median, in median deviations
            (:func:`~captum_paramsal.functional.peer_deviation`). ``(F,)`` float64.
        mistakes: How many there were.
        correct: How many right images.
        ablated_mistakes: How many of the mistakes the effect is the mean over.
    """

    filters: FilterIndex
    saliency: SetSaliency
    effect: Tensor
    drift: Tensor
    deviation: Tensor
    mistakes: int
    correct: int
    ablated_mistakes: int

    @property
    def score(self) -> Tensor:
        """The ranks of the four fused, ``(F,)`` float64, see :func:`captum_paramsal.stats.reciprocal_rank_fusion`.

        What one of the four says nothing of is in the middle of its ranking; one that says nothing of any filter does
        not count.
        """
        kinds = (self.saliency.score[0], self.effect, self.drift, self.deviation)
        known = [_with_unknown_in_the_middle(values) for values in kinds if not values.isnan().all()]
        return reciprocal_rank_fusion(known)

    def top(self, k: int = 10) -> list[Filter]:
        """The k filters of the highest score."""
        return self.filters.top(self.score[None], k)[0]

    def to_table(self, k: int | None = None) -> list[dict[str, Any]]:
        """One row per filter, the highest score first; the first k where that is given."""
        score = self.score
        columns = {
            "score": score,
            "saliency": self.saliency.score[0],
            "effect": self.effect,
            "drift": self.drift,
            "deviation": self.deviation,
        }
        order = score.argsort(descending=True, stable=True)[:k].tolist()
        return [
            {"rank": rank, "filter": str(self.filters[place])}
            | {name: float(values[place]) for name, values in columns.items()}
            for rank, place in enumerate(order, start=1)
        ]

    def _facts(self) -> Mapping[str, Any]:
        ablated = f"{int((~self.effect.isnan()).sum())} of {len(self.filters)} filters"
        return {"mistakes": self.mistakes, "correct": self.correct, "ablated": ablated, "first": str(self.top(1)[0])}


def rank_suspects(
    model: nn.Module,
    mistakes: Inputs,
    labels: Target,
    correct: Inputs,
    correct_labels: Target,
    *,
    reference: Reference | None = None,
    ablations: int = 1000,
    layers: LayerSelection | None = None,
    loss: Loss = cross_entropy,
    internal_batch_size: int | None = None,
    output: Output | None = None,
    show_progress: bool = True,
) -> Suspects:
    """Rank all filters by how likely each made a set of mistakes.

    Four things tell on a filter, and each sees faults that the others do not:

    * **saliency**: the mistakes' gradients want it changed, in one direction (:func:`set_saliency`);
    * **effect**: the mistakes are nearer to their true classes without it, by ablation;
    * **drift**: what it returns is not what the batch norm behind it was trained with;
    * **deviation**: its weights are much larger or smaller than those of its layer's other filters.

    Their ranks are fused. The last two need no mistake: they see that something happened to the weights after training,
    such as damage, and are no evidence against a filter that learnt the wrong thing.

    Args:
        model: A classifier that returns class scores ``(N, C)``; left as it is.
        mistakes: Images that it gets wrong and that may have one cause, ``(N, ...)``.
        labels: Their true classes.
        correct: Images that it gets right, ``(M, ...)``; some hundred are enough.
        correct_labels: Their classes.
        reference: What the filters usually do; by default, what they do in ``correct``.
        ablations: Filters that are ablated at most, each in one pass over up to 12 mistakes: those that the three other
            kinds of evidence put first.
        layers: Layers to score; by default those of the reference, or the default layers.
        loss: Loss per example.
        internal_batch_size: Images in one pass; bounds memory, not the result.
        output: What makes class scores ``(N, C)`` of what the model returns, where it returns something else than
            these or ``logits``.
        show_progress: Show a progress bar over the ablations.

    Returns:
        See ``docs/evidence/suspects.md`` for how often the damaged filter is among the first.

    Raises:
        InputError: Fewer than two mistakes, no right image, images that cannot be scored, or ``ablations`` below 0.
        TargetError: Labels that do not name one class per image.
        ReferenceMismatchError: The reference was taken on other weights, layers or another loss.

    >>> from captum_paramsal.demo import load_model, load_scenes, normalize
    >>> model, scenes = load_model(), load_scenes("validation")
    >>> images, labels = normalize(scenes.images), scenes.labels
    >>> right = model(images).argmax(dim=1) == labels
    >>> found = rank_suspects(
    ...     model, images[~right], labels[~right], images[right], labels[right], ablations=20, show_progress=False
    ... )
    >>> len(found.top(3)), int((~found.effect.isnan()).sum())
    (3, 20)
    """
    if not isinstance(ablations, int) or ablations < 0:
        message = f"Expected `ablations` to be a whole number of at least 0, got {ablations!r}."
        raise InputError(message)
    scored = scored_model(model, output)
    chosen = layers if layers is not None or reference is None else reference.filters
    usual = reference
    if usual is None:
        usual = Reference.fit(
            scored,
            [(correct, correct_labels)],
            layers=chosen,
            loss=loss,
            internal_batch_size=internal_batch_size,
            show_progress=False,
        )
    saliency = set_saliency(
        scored, mistakes, labels, usual, layers=chosen, loss=loss, internal_batch_size=internal_batch_size
    )
    profile = FilterProfile(scored, chosen, loss)
    parts = profile.parts(correct, correct_labels, None, internal_batch_size)
    found = Suspects(
        filters=saliency.filters,
        saliency=saliency,
        effect=torch.full_like(saliency.score[0], torch.nan),
        drift=_drift(profile, parts),
        deviation=_deviation(profile),
        mistakes=int(saliency.counts[0]),
        correct=sum(map(len, parts)),
        ablated_mistakes=min(int(saliency.counts[0]), ABLATED_MISTAKES),
    )
    shortlist = found.score.argsort(descending=True, stable=True)[:ablations]
    looked_at = profile.parts(mistakes, labels, None, internal_batch_size)
    return replace(found, effect=_effect(profile, looked_at, shortlist, show_progress=show_progress))


def _drift(profile: FilterProfile, parts: Sequence[ModelInputs]) -> Tensor:
    """Of every filter, over all right images; NaN where no batch norm reads its layer."""
    with frozen_eval(profile.model, gradients=False), norm_inputs(profile.model, profile.layers) as watched:
        for part in parts:
            forward_scores(profile.model, part)
    columns = []
    for layer in profile.layers:
        statistics = watched.statistics(layer)
        unknown = torch.full((layer.count,), torch.nan, dtype=torch.float64)
        columns.append(unknown if statistics is None else statistics_drift(*statistics))
    return torch.cat(columns)


def _deviation(profile: FilterProfile) -> Tensor:
    """Of every filter's weights, among those of its layer."""
    sizes = [layer.weight_rows.double().norm(dim=1).cpu() for layer in profile.layers]
    return peer_deviation(torch.cat(sizes), [len(of_layer) for of_layer in sizes])


def _effect(profile: FilterProfile, parts: Sequence[ModelInputs], shortlist: Tensor, *, show_progress: bool) -> Tensor:
    """Mean change of the first mistakes' margins without each filter of the shortlist; NaN for the others."""
    filters = profile.filters
    chosen = [filters[place] for place in shortlist.tolist()]
    alone = torch.eye(len(chosen), dtype=torch.bool)
    spread = _evenly_spread(parts, ABLATED_MISTAKES)
    before, after = ablated_margins(profile.model, spread, chosen, alone, show_progress=show_progress)
    effect = torch.full((len(filters),), torch.nan, dtype=torch.float64)
    effect[shortlist] = (after - before).double().mean(dim=1).cpu()
    return effect


def _with_unknown_in_the_middle(values: Tensor) -> Tensor:
    return torch.where(values.isnan(), values.nanmedian(), values)


def _evenly_spread(parts: Sequence[ModelInputs], most: int) -> list[ModelInputs]:
    """Some of the examples, from all over the set: it may be sorted by class."""
    total = sum(len(part) for part in parts)
    wanted = torch.linspace(0, total - 1, min(most, total)).round().long().unique()
    kept, start = [], 0
    for part in parts:
        own = wanted[(wanted >= start) & (wanted < start + len(part))] - start
        if len(own):
            kept.append(part.chosen(own))
        start += len(part)
    return kept
