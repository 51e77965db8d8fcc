"""The saliency profile of every example, from a model in any state."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from captum_paramsal.batch import Inputs, ModelInputs
from captum_paramsal.errors import CutOffLayersWarning, InputError, ModelError, warn_caller
from captum_paramsal.filters import FilterIndex
from captum_paramsal.functional import Loss, Target, cross_entropy
from captum_paramsal.hooks import (
    DifferentiableRecording,
    ExamplePeaks,
    FilterLayer,
    FrozenLayers,
    GradientSums,
    HiddenCallsError,
    LayerRecording,
    Output,
    OutputPeaks,
    Plan,
    Reduction,
    SummingReduction,
    require_twice_differentiable,
    scored_model,
    tokens_in_one_piece,
    twice_differentiable,
    watching_layers,
)
from captum_paramsal.profiles.layer_plans import LayerPlans
from captum_paramsal.profiles.layers import LayerSelection
from captum_paramsal.profiles.losses import losses_of

Objective: TypeAlias = Callable[[Tensor], Tensor]
"""From profiles ``(N, F)`` to one number per example, ``(N,)``, each from its own row."""


class FilterProfile:
    """Mean absolute weight gradient of every filter, for every example of a batch.

    Args:
        model: A classifier; a compiled or data-parallel one is unwrapped.
        layers: Layers to score, see :func:`captum_paramsal.profiles.layers.select_layers`.
        loss: Loss per example.
        output: What makes class scores ``(N, C)`` of what the model returns, where it returns something else than
            these or ``logits``.
        bias: Take each filter's entry of the layer's bias as one of its weights.
    """

    def __init__(
        self,
        model: nn.Module,
        layers: LayerSelection | None = None,
        loss: Loss = cross_entropy,
        *,
        output: Output | None = None,
        bias: bool = False,
    ) -> None:
        self.model = scored_model(model, output)
        self.loss = loss
        self._plans = LayerPlans(self.model, layers, bias=bias)
        self._cut_off: frozenset[str] = frozenset()

    @property
    def layers(self) -> tuple[FilterLayer, ...]:
        """The layers that are scored.

        Whether a Linear layer is one of the default is known once the model has run. Before that, a trial run with
        made-up inputs tells; the first real run verifies it, and a difference is a :class:`DefaultLayersWarning`.

        Raises:
            LayerError: The model has not run yet, and the trial run does not succeed.
        """
        return self._plans.layers

    @property
    def filters(self) -> FilterIndex:
        """What each column of a profile belongs to; before the first run it is found out once something is asked."""
        return self._plans.filters

    @property
    def example_dimensions(self) -> Mapping[str, int]:
        """Dimension of the examples in what a layer returns, where that is another than 0 or folded with windows."""
        plan = self._plans.latest
        return {} if plan is None else plan.functions

    @property
    def fewest(self) -> int:
        """Filters that are scored whatever the first run shows."""
        return self._plans.fewest

    @property
    def candidates(self) -> FilterIndex:
        """All filters that may be scored: known before any run."""
        return self._plans.candidates

    def __call__(
        self,
        inputs: Inputs,
        target: Target = None,
        additional_forward_args: Any = None,
        internal_batch_size: int | None = None,
        *,
        show_progress: bool = False,
    ) -> Tensor:
        """Profile of each example.

        Args:
            inputs: Images ``(N, C, H, W)``, or whatever the model takes, as one tensor or a tuple of them.
            target: Class that each example's loss is taken at, see :func:`captum_paramsal.functional.labels_of`.
            additional_forward_args: More arguments for the model; tensors with N rows go with their examples.
            internal_batch_size: Examples in one forward and backward pass; bounds memory, not the result. None takes
                all at once, or on a processor as many as are fastest.
            show_progress: Show a progress bar over these passes.

        Returns:
            ``(N, F)``; float32 for half precision.

        Raises:
            InputError: An empty batch, a shape that the model cannot take, values or losses that are not finite.
            TargetError: The target does not name one class per example.
            LayerError: A layer that was asked for is never reached, or its input was overwritten.
        """
        batch = self._given(inputs, target, additional_forward_args)
        shown = "saliency profiles" if show_progress else None
        return torch.cat(self._plans.over(batch, internal_batch_size, self._recorded, shown))

    def gradient_sums(  # noqa: PLR0917 -- what Captum takes, behind what it is summed over
        self,
        groups: Tensor,
        count: int,
        inputs: Inputs,
        target: Target = None,
        additional_forward_args: Any = None,
        internal_batch_size: int | None = None,
    ) -> GradientSums:
        """Weight gradients of every filter with their signs, summed over groups of examples.

        Args:
            groups: Group of each example, from 0, ``(N,)``.
            count: Groups, G.
            inputs: As in :meth:`__call__`, like all that follow.
            target: Class that each example's loss is taken at.
            additional_forward_args: More arguments for the model.
            internal_batch_size: Examples in one pass.

        Raises:
            InputError, TargetError, LayerError: See :meth:`__call__`.
        """
        batch = self._given(inputs, target, additional_forward_args)

        def summed(plan: Plan, part: ModelInputs) -> GradientSums:
            made: list[SummingReduction] = []

            def begin() -> SummingReduction:
                made.append(SummingReduction(groups[part.start : part.start + len(part)], count))
                return made[-1]

            self._recorded(plan, part, begin)
            return made[-1].sums

        first, *others = self._plans.over(batch, internal_batch_size, summed, None)
        return sum(others, start=first)

    def with_peaks(
        self,
        outputs: OutputPeaks,
        inputs: Inputs,
        target: Target = None,
        additional_forward_args: Any = None,
        internal_batch_size: int | None = None,
    ) -> tuple[Tensor, list[ExamplePeaks]]:
        """Profile of each example, and where in it each filter is most active, from the same passes.

        Args:
            outputs: Sees what the layers return.
            inputs: As in :meth:`__call__`, like all that follow.
            target: Class that each example's loss is taken at.
            additional_forward_args: More arguments for the model.
            internal_batch_size: Examples in one pass.

        Returns:
            ``(N, F)``, and what was seen in each pass.

        Raises:
            InputError, TargetError, LayerError: See :meth:`__call__`.
        """
        batch = self._given(inputs, target, additional_forward_args)

        def watched(plan: Plan, part: ModelInputs) -> tuple[Tensor, ExamplePeaks]:
            profile, logits = self._passed(plan, part, outputs=outputs)
            return profile, outputs.take(part.start, _labels_of(part, logits))

        profiles, seen = zip(*self._plans.over(batch, internal_batch_size, watched, None), strict=True)
        return torch.cat(profiles), list(seen)

    def input_gradients(
        self,
        objective: Objective,
        inputs: Inputs,
        target: Target = None,
        additional_forward_args: Any = None,
        internal_batch_size: int | None = None,
        *,
        show_progress: bool = False,
    ) -> tuple[Tensor, ...]:
        """Gradient of a function of the profile with respect to the inputs, by a double backward pass.

        Args:
            objective: From profiles ``(N, F)`` to one number per example, ``(N,)``, each from its own row.
            inputs: As in :meth:`__call__`, like all that follow.
            target: Class that each example's loss is taken at.
            additional_forward_args: More arguments for the model.
            internal_batch_size: Examples in one pass.
            show_progress: Show a progress bar over these passes.

        Returns:
            One tensor for each input, in its shape.

        Raises:
            InputError: Inputs that are not floating point, or see :meth:`__call__`.
            TargetError, LayerError: See :meth:`__call__`.
        """
        batch = self._given(inputs, target, additional_forward_args)
        for tensor in batch.inputs:
            if not tensor.is_floating_point():
                message = (
                    f"Expected floating-point `inputs`, which have gradients, got {tensor.dtype}. Give images of whole "
                    "numbers as `images.float()`, if the model makes the same of them."
                )
                raise InputError(message)

        def differentiated(plan: Plan, part: ModelInputs) -> tuple[Tensor, ...]:
            return self._differentiated(plan, part, objective)

        gradients = self._plans.over(batch, internal_batch_size, differentiated, "pixels" if show_progress else None)
        return tuple(torch.cat(pieces) for pieces in zip(*gradients, strict=True))

    def _given(self, inputs: Inputs, target: Any, additional_forward_args: Any) -> ModelInputs:
        """What a caller gave; a loss of one's own decides what a target may be."""
        own_loss = self.loss is not cross_entropy
        return ModelInputs.of(inputs, target, additional_forward_args, model=self.model, any_target=own_loss)

    def parts(
        self,
        inputs: Inputs,
        target: Target = None,
        additional_forward_args: Any = None,
        internal_batch_size: int | None = None,
    ) -> list[ModelInputs]:
        """The examples of each pass, for who scores the same layers by forward passes alone.

        Args:
            inputs: As in :meth:`__call__`, like all that follow.
            target: Class of each example.
            additional_forward_args: More arguments for the model.
            internal_batch_size: Examples in one pass; one in each where they influence each other.

        Raises:
            InputError, TargetError, LayerError: See :meth:`__call__`.
        """
        return self._plans.parts(self._given(inputs, target, additional_forward_args), internal_batch_size)

    def prepare(self, inputs: Inputs, target: Target = None, additional_forward_args: Any = None) -> None:
        """Find out how the layers are scored, as a call with the same arguments would, and score nothing.

        Raises:
            InputError, TargetError, LayerError: See :meth:`__call__`.
        """
        self._plans.prepare(self._given(inputs, target, additional_forward_args))

    def _recorded(self, plan: Plan, batch: ModelInputs, begin: Callable[[], Reduction] | None = None) -> Tensor:
        return self._passed(plan, batch, begin)[0]

    def _passed(
        self,
        plan: Plan,
        batch: ModelInputs,
        begin: Callable[[], Reduction] | None = None,
        *,
        outputs: OutputPeaks | None = None,
        again: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """Profiles and class scores of one forward and backward pass."""
        recording = LayerRecording(self.layers, plan, len(batch), None if begin is None else begin(), outputs)
        watching_outputs = nullcontext() if outputs is None else outputs.watching(self.model)
        # Blocks that run again in the backward pass need an input with a gradient.
        inputs = tuple(map(_with_gradient, batch.inputs)) if again else batch.inputs
        try:
            with tokens_in_one_piece(self.model), watching_layers(recording, plan), watching_outputs:
                losses, logits = losses_of(self.model, self.loss, replace(batch, inputs=inputs))
                recording.backward(losses, again=again or self._cut_off.issuperset(recording.hidden))
                profile = recording.profile(like=logits)
        except (HiddenCallsError, ModelError):
            if again or not recording.hidden:
                raise
            return self._passed(plan, batch, begin, outputs=outputs, again=True)
        self._say_cut_off(recording.cut_off)
        self._require_finite(profile, batch.start)
        return profile, logits.detach()

    def _say_cut_off(self, names: Sequence[str]) -> None:
        """Warn of layers that ran without a gradient, once of each."""
        if self._cut_off.issuperset(names):
            return
        self._cut_off |= set(names)
        some = ", ".join(map(repr, names[:3])) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        message = (
            f"No gradient of the loss reaches {len(names)} of {len(self.layers)} layers that ran: {some}. Their scores "
            "are 0, which says nothing of them: the model cuts them off (`no_grad`, `detach`, conversions), or does "
            "not use what they return. Take that out of its forward pass, or leave these layers out with `layers`."
        )
        warn_caller(message, CutOffLayersWarning)

    def _differentiated(self, plan: Plan, batch: ModelInputs, objective: Objective) -> tuple[Tensor, ...]:
        recording = DifferentiableRecording(self.layers, plan, len(batch))
        leaves = [tensor.detach().requires_grad_() for tensor in batch.inputs]
        frozen = FrozenLayers()
        with frozen, watching_layers(recording, plan), twice_differentiable():
            losses, logits = losses_of(self.model, self.loss, replace(batch, inputs=tuple(leaves)))
            frozen.resting = True
            profile = recording.profile(losses, like=logits)
            # Without a gradient in the forward pass they have no part in the map either.
            self._say_cut_off(recording.hidden)
            self._require_finite(profile.detach(), batch.start)
            total = objective(profile).sum()
            require_twice_differentiable(total)
            found = (
                torch.autograd.grad(total, leaves, allow_unused=True) if total.requires_grad else (None,) * len(leaves)
            )
        gradients = [torch.zeros_like(leaf) if one is None else one for one, leaf in zip(found, leaves, strict=True)]
        for gradient in gradients:
            _require_finite_gradient(gradient, batch.start)
        return tuple(gradients)

    def _require_finite(self, profile: Tensor, start: int) -> None:
        bad = (~torch.isfinite(profile)).nonzero()
        if len(bad):
            example, place = bad[0].tolist()
            message = (
                f"Expected finite gradients, got {profile[example, place].item()} in {self.filters[place]} for example "
                f"{start + example}."
            )
            raise InputError(message)


def _labels_of(batch: ModelInputs, scores: Tensor) -> Tensor:
    """Label of each example, or its prediction; -1 where the loss takes no classes, ``(N,)``."""
    if batch.targets is not None:
        return torch.full((len(batch),), -1, dtype=torch.int64)
    labels = scores.argmax(dim=1) if batch.labels is None else batch.labels[:, 0]
    return labels.detach().cpu()


def _with_gradient(tensor: Tensor) -> Tensor:
    return tensor.detach().requires_grad_() if tensor.is_floating_point() else tensor


def _require_finite_gradient(gradient: Tensor, start: int) -> None:
    if not torch.isfinite(gradient).all():
        example = int((~torch.isfinite(gradient)).flatten(1).any(dim=1).nonzero()[0])
        message = (
            f"Expected finite gradients with respect to the inputs, got NaN or infinity for example {start + example}."
        )
        raise InputError(message)
