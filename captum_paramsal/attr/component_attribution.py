"""Component attribution (Shah, Ilyas and Mądry, 2024): what each filter does to a margin, from ablations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from captum.attr import Attribution
from captum.log import log_usage
from torch import Tensor, nn

from captum_paramsal.batch import Inputs, ModelInputs
from captum_paramsal.errors import FewPassesWarning, InputError, warn_caller
from captum_paramsal.filters import FilterIndex
from captum_paramsal.functional import (
    Target,
    ablation_groups,
    agreement,
    component_effects,
)
from captum_paramsal.hooks import Output
from captum_paramsal.profiles import FilterProfile, LayerSelection, ablated_margins
from captum_paramsal.reference import ProcessGroup
from captum_paramsal.summary import Summarized

ROUNDS = 2
"""Passes in which a filter is ablated by default, where there are fewer passes than filters."""

SHARED_PASSES = 16
"""Ablations that a process of a group makes before it waits for the others; each time, the model as it is runs too."""

RELIABLE = 0.5
"""Mean reliability below which it is said that there were few passes."""


@dataclass(frozen=True, eq=False)
class ComponentEffects:
    """What ablating each filter does to each image's margin, and how well this is known.

    Attributes:
        filters: Which filter each column belongs to.
        scores: Effects, ``(N, F)``, in nats: above 0 where the margin is higher without the filter.
        margins: Log odds of each image's label in the model as it is, ``(N,)``.
        reliability: How well each image's effects are known, ``(N,)`` from 0 to 1: the correlation of two halves of the
            passes, as of all of them (:func:`~captum_paramsal.functional.agreement`). 1 where every filter was ablated
            alone, since nothing is estimated then.
        passes: Ablations that were run.
        per_pass: Filters that were ablated at once, at most.
    """

    filters: FilterIndex
    scores: Tensor
    margins: Tensor
    reliability: Tensor
    passes: int
    per_pass: int


class ComponentAttribution(Summarized, Attribution):  # type: ignore[misc] # Captum is not typed strictly
    """Effect of every filter on an image's margin: by how much it is higher without the filter.

    The margin is :func:`~captum_paramsal.functional.log_odds` of ``target``. In each pass a group of filters has its
    weights set to zero, with the bias; all images share the pass. The scores are the effects that add up to what the
    passes show, by ridge regression: :func:`~captum_paramsal.functional.component_effects` (COAR, section 3). Above 0,
    the filter pulls away from ``target``, towards the mistake if that is the true class. No gradient is taken.

    Where ``passes`` suffice, each filter is ablated alone, and the scores are its exact effects. Otherwise they are
    estimates, whose quality :meth:`effects` states as ``reliability``. Unlike in the paper, groups are not drawn
    independently: :func:`~captum_paramsal.functional.ablation_groups` ablates each filter equally often.

    Args:
        model: A classifier that returns class scores ``(N, C)``; left as it is. Its weights are changed while it is
            scored, and every bit is back afterwards, also after an exception.
        layers: Layers to score, as of :class:`~captum_paramsal.ParameterSaliency`.
        passes: Forward passes over all images at most, besides that of the model as it is.
        fraction: Share of the filters that is ablated in a pass, above 0 and at most 0.5, as in the paper, which takes
            0.05 to 0.1. None for one filter at a time if there are passes for it, or else as many as let each be
            ablated in two passes.
        ridge: Strength of the penalty on large effects, as a share of the passes in which a filter is ablated.
        seed: Of the groups.
        bias: Set the filter's entry of its layer's bias to zero too.
        output: What makes class scores ``(N, C)`` of what the model returns, where it returns something else than
            these or ``logits``.
        group: Processes that share the passes, such as :meth:`captum_paramsal.reference.ProcessGroup.current`; all
            attribute the same images, and get the same scores. This one alone by default.

    Attributes:
        profiler: Knows the layers that are scored.

    Raises:
        InputError: ``passes``, ``fraction`` or ``ridge`` is out of range.
        LayerError: ``layers`` selects nothing, or the model has no filter layer.

    References:
        Shah, Ilyas, Mądry: *Decomposing and Editing Predictions by Modeling Model Computation*, ICML 2024,
        arXiv 2404.11534.

    >>> _ = torch.manual_seed(0)
    >>> model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    >>> components = ComponentAttribution(model)
    >>> scores = components.attribute(torch.rand(5, 3, 8, 8), target=1)
    >>> scores.shape, len(components.filters.top(scores, k=1))
    (torch.Size([5, 4]), 5)
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        layers: LayerSelection | None = None,
        passes: int = 1000,
        fraction: float | None = None,
        ridge: float = 0.1,
        seed: int = 0,
        bias: bool = True,
        output: Output | None = None,
        group: ProcessGroup | None = None,
    ) -> None:
        super().__init__(model)
        _require_settings(passes, fraction, ridge)
        self.profiler = FilterProfile(model, layers, output=output)
        self.passes = passes
        self.fraction = fraction
        self.ridge = ridge
        self.seed = seed
        self.bias = bias
        self.group = ProcessGroup() if group is None else group

    def _facts(self) -> Mapping[str, Any]:
        at_once = "as passes allow" if self.fraction is None else f"{self.fraction:g} of the filters"
        layers = f"{len(self.profiler.candidates)} at most"
        return {"model": type(self.model).__name__, "layers": layers, "passes": self.passes, "ablated at once": at_once}

    @property
    def model(self) -> nn.Module:
        """The scored model, unwrapped."""
        return self.profiler.model

    @property
    def filters(self) -> FilterIndex:
        """What each column of the scores belongs to."""
        return self.profiler.filters

    @property
    def multiplies_by_inputs(self) -> bool:
        """Always False, since scores belong to filters and not to inputs."""
        return False

    @log_usage()  # type: ignore[untyped-decorator]
    def attribute(
        self,
        inputs: Inputs,
        target: Target = None,
        additional_forward_args: Any = None,
        internal_batch_size: int | None = None,
        show_progress: bool = False,  # noqa: FBT001, FBT002 -- Captum's signature
    ) -> Tensor | tuple[Tensor, ...]:
        """Score every filter for every image.

        Args:
            inputs: Images, ``(N, C, H, W)``, or a tuple or dict of what the model takes, N examples each.
            target: Class whose margin is explained, the true one for a mistake, of every kind that Captum takes; None
                takes the prediction of the model as it is.
            additional_forward_args: Further arguments of the model, by name in a dict; tensors with N rows go with
                their images.
            internal_batch_size: Images per forward pass; bounds memory, not the result.
            show_progress: Show a progress bar over the ablations.

        Returns:
            ``(N, F)`` effects in nats, in the order of ``self.filters`` (in a tuple of one if ``inputs`` is a tuple):
            above 0 where the margin is higher without the filter.

        Raises:
            TargetError: ``target`` does not name one class per image.
            InputError: An empty batch, a shape that the model cannot take, inputs or class scores that are not finite.
            ModelError: The model knows one class only.
            InterventionError: A filter's numbers are computed for each pass, so that they cannot be set to zero.
            LayerError: A layer that was asked for is never reached in the forward pass.

        Warns:
            FewPassesWarning: Two halves of the passes hardly agree.
        """
        effects = self.effects(
            inputs, target, additional_forward_args, internal_batch_size, show_progress=show_progress
        )
        return (effects.scores,) if isinstance(inputs, tuple) else effects.scores

    def effects(
        self,
        inputs: Inputs,
        target: Target = None,
        additional_forward_args: Any = None,
        internal_batch_size: int | None = None,
        *,
        show_progress: bool = False,
    ) -> ComponentEffects:
        """The scores with what is known of them.

        Args:
            inputs: As in :meth:`attribute`, like all that follow.
            target: Class whose margin is explained.
            additional_forward_args: Further arguments of the model.
            internal_batch_size: Images per forward pass.
            show_progress: Show a progress bar.

        Raises:
            TargetError, InputError, ModelError, InterventionError, LayerError: See :meth:`attribute`.

        Warns:
            FewPassesWarning: Two halves of the passes hardly agree.
        """
        parts = self.profiler.parts(inputs, target, additional_forward_args, internal_batch_size)
        filters = self.filters
        ablated = self._ablated(len(filters))
        before, after = self._margins(parts, ablated, show_progress=show_progress)
        scores, reliability = self._estimated(ablated, (after - before).cpu())
        wide = any(weight.dtype == torch.float64 for weight in self.model.parameters())
        kind = torch.float64 if wide else torch.float32
        placed = scores.to(device=before.device, dtype=kind)
        per_pass = int(ablated.sum(dim=1).max())
        return ComponentEffects(filters, placed, before.to(kind), reliability.to(placed), len(ablated), per_pass)

    def _margins(self, parts: Sequence[ModelInputs], ablated: Tensor, *, show_progress: bool) -> tuple[Tensor, Tensor]:
        """Margins of the model as it is, and with what each pass ablates; passes are shared in a group."""
        group, filters = self.group, list(self.filters)

        def run(masks: Tensor) -> tuple[Tensor, Tensor]:
            shown = group.shows(show_progress)
            before, after = ablated_margins(self.model, parts, filters, masks, bias=self.bias, show_progress=shown)
            return (before, after) if group.size == 1 else (before.cpu(), after.cpu())

        # One process makes all its passes at once: the model as it is then runs once.
        shares = ablated.split(len(ablated) if group.size == 1 else SHARED_PASSES)
        before, after = zip(*group.in_order(group.own(shares), run, "ablations"), strict=True)
        return before[0].to(parts[0].inputs[0].device), torch.cat(after)

    def _ablated(self, count: int) -> Tensor:
        """Which filters each pass ablates; every one alone if passes allow it."""
        if self.fraction is None:
            groups = count if self.passes >= count else max(2, self.passes // ROUNDS)
        else:
            groups = min(count, round(1 / self.fraction))
        if groups == count <= self.passes:
            return torch.eye(count, dtype=torch.bool)
        return ablation_groups(count, groups, self.passes, self.seed)

    def _estimated(self, ablated: Tensor, changes: Tensor) -> tuple[Tensor, Tensor]:
        """Scores, and how well each image's are known."""
        if ablated.equal(torch.eye(ablated.shape[1], dtype=torch.bool)):
            return changes.double().T.contiguous(), torch.ones(changes.shape[1])
        half = len(ablated) // 2
        halves = [
            component_effects(ablated[rows], changes[rows], self.ridge) for rows in (slice(half), slice(half, None))
        ]
        reliability = agreement(*halves)
        if float(reliability.mean()) < RELIABLE:
            message = (
                f"Effects of {ablated.shape[1]} filters from {len(ablated)} passes are hardly known: their mean "
                f"reliability, from two halves of the passes, is {float(reliability.mean()):.2f}. More `passes` make "
                f"them better; {ablated.shape[1]} passes with `fraction=None` give them exactly."
            )
            warn_caller(message, FewPassesWarning)
        return component_effects(ablated, changes, self.ridge), reliability


def _require_settings(passes: int, fraction: float | None, ridge: float) -> None:
    if not isinstance(passes, int) or passes < 2:
        message = f"Expected `passes` to be a whole number of at least 2, got {passes!r}."
        raise InputError(message)
    if fraction is not None and not 0 < fraction <= 0.5:
        message = f"Expected `fraction` above 0 and at most 0.5, or None, got {fraction!r}."
        raise InputError(message)
    if not 0 <= ridge < float("inf"):
        message = f"Expected `ridge` to be a finite number of at least 0, got {ridge!r}."
        raise InputError(message)
