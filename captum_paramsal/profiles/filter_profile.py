"""The saliency profile of every example, from a model in any state."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any, TypeAlias, TypeVar
from warnings import catch_warnings, simplefilter, warn

import torch
from torch import Tensor, nn
from tqdm import tqdm

from captum_paramsal.batch import (
    Form,
    Inputs,
    ModelInputs,
    forward_scores,
    require_size,
)
from captum_paramsal.errors import (
    CutOffLayersWarning,
    DefaultLayersWarning,
    InputError,
    LayerError,
    ModelError,
    UnscoredWeightsWarning,
)
from captum_paramsal.filters import FilterIndex
from captum_paramsal.functional import Loss, Target, cross_entropy
from captum_paramsal.hooks import (
    DifferentiableRecording,
    ExamplePeaks,
    FilterLayer,
    FittingLinears,
    FrozenConvolutions,
    GradientSums,
    HiddenCallsError,
    LayerRecording,
    OtherWayError,
    Output,
    OutputPeaks,
    Plan,
    Reduction,
    StalePlanError,
    SummingReduction,
    frozen_eval,
    plan_recording,
    require_twice_differentiable,
    scored_model,
    synthetic_inputs,
    tokens_in_one_piece,
    twice_differentiable,
    watching_layers,
)
from captum_paramsal.profiles.default_layers import DefaultLayers
from captum_paramsal.profiles.layers import LayerSelection, filter_index, select_layers
from captum_paramsal.profiles.losses import losses_of
from captum_paramsal.profiles.pending_filters import PendingFilters

Objective: TypeAlias = Callable[[Tensor], Tensor]
"""From profiles ``(N, F)`` to one number per example, ``(N,)``, each from its own row."""

_Result = TypeVar("_Result")

REUSED_BYTES = 32 * 2**20
"""Larger tensors are mapped afresh by the C library at each allocation, page by page (``mallopt(3)``)."""


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
        self._choice = layers, bias
        self._select()
        self._one_by_one = False
        self._cut_off: frozenset[str] = frozenset()

        if self._layers is None and self.fewest == 0:
            # Nothing is certain: if no layer at all is left, who builds this should know.
            self._try_out()

    def _select(self) -> None:
        """Look for the layers in the model as it is now."""
        layers, bias = self._choice
        with frozen_eval(self.model):
            self._candidates = select_layers(self.model, layers, bias=bias)
            # Inside, since reading a weight of spectral norm in training mode changes its buffers.
            filter_index(self._candidates)
        certain = not any(layer.provisional for layer in self._candidates)
        self._layers = self._candidates if certain else None
        self._tried = False
        self._plan: Plan | None = None
        self._plans: dict[Form, Plan] = {}
        self._folded: frozenset[str] = frozenset()

    def _follow_exchanges(self) -> None:
        """Look for the layers again where one of them is no longer the model's.

        Raises:
            LayerError: The model's layers have other filters now.
        """
        if all(_is_there(self.model, layer) for layer in self._candidates):
            return
        before = filter_index(self._candidates)
        self._select()
        now = filter_index(self._candidates)
        if now != before:
            message = (
                f"Expected the layers that this was made for, but layers of the model were exchanged since and "
                f"{before.difference(now)}. Make it anew for the model as it is now."
            )
            raise LayerError(message)

    @property
    def layers(self) -> tuple[FilterLayer, ...]:
        """The layers that are scored.

        Whether a Linear layer is one of the default is known once the model has run. Before that, a trial run with
        made-up inputs tells; the first real run verifies it, and a difference is a :class:`DefaultLayersWarning`.

        Raises:
            LayerError: The model has not run yet, and the trial run does not succeed.
        """
        if self._layers is None and not self._try_out():
            message = (
                "Expected a model that has been run: which of its Linear layers act at places or tokens is not known "
                "before, and it takes none of the inputs that were tried. Score once first, or name `layers`."
            )
            raise LayerError(message)
        return self._layers or ()

    @property
    def filters(self) -> FilterIndex:
        """What each column of a profile belongs to; before the first run it is found out once something is asked."""
        settled = self._layers is not None and not self._tried
        return filter_index(self.layers) if settled else PendingFilters(lambda: filter_index(self.layers))

    @property
    def fewest(self) -> int:
        """Filters that are scored whatever the first run shows."""
        return sum(layer.count for layer in self._layers or self._candidates if not layer.provisional)

    @property
    def candidates(self) -> FilterIndex:
        """All filters that may be scored: known before any run."""
        return filter_index(self._candidates)

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
        return torch.cat(self._scored(batch, internal_batch_size, self._recorded, shown))

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

        first, *others = self._scored(batch, internal_batch_size, summed, None)
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

        profiles, seen = zip(*self._scored(batch, internal_batch_size, watched, None), strict=True)
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

        gradients = self._scored(batch, internal_batch_size, differentiated, "pixels" if show_progress else None)
        return tuple(torch.cat(pieces) for pieces in zip(*gradients, strict=True))

    def _given(self, inputs: Inputs, target: Any, additional_forward_args: Any) -> ModelInputs:
        """What a caller gave; a loss of one's own decides what a target may be."""
        own_loss = self.loss is not cross_entropy
        return ModelInputs.of(inputs, target, additional_forward_args, model=self.model, any_target=own_loss)

    def _scored(
        self,
        batch: ModelInputs,
        internal_batch_size: int | None,
        score: Callable[[Plan, ModelInputs], _Result],
        shown: str | None,
    ) -> list[_Result]:
        """What the parts of a batch become, one after the other, with a progress bar where it has a label."""
        with frozen_eval(self.model):
            self._follow_exchanges()
            while True:
                parts = self._parts(batch, internal_batch_size)
                try:
                    return [self._replanned(part, score) for part in tqdm(parts, desc=shown, disable=shown is None)]
                except _OneByOneError:
                    # Examples go different ways through the model: each goes its own.
                    self._one_by_one = True
                    self._forget_plans()

    def _parts(self, batch: ModelInputs, internal_batch_size: int | None) -> list[ModelInputs]:
        """The batch cut into what one pass takes."""
        require_size(internal_batch_size)
        plan = self._plan_for(batch)
        size = internal_batch_size or _fast_size(len(batch), plan.largest_output, batch.inputs[0].device)
        size = 1 if self._one_by_one else size
        return [batch.part(start, size) for start in range(0, len(batch), size)]

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
        batch = self._given(inputs, target, additional_forward_args)
        with frozen_eval(self.model):
            self._follow_exchanges()
            return self._parts(batch, internal_batch_size)

    def prepare(self, inputs: Inputs, target: Target = None, additional_forward_args: Any = None) -> None:
        """Find out how the layers are scored, as a call with the same arguments would, and score nothing.

        Raises:
            InputError, TargetError, LayerError: See :meth:`__call__`.
        """
        batch = self._given(inputs, target, additional_forward_args)
        with frozen_eval(self.model):
            self._follow_exchanges()
            self._plan_for(batch)

    def _plan_for(self, batch: ModelInputs) -> Plan:
        examples = min(len(batch), 1 if self._one_by_one else 2)
        plan = self._plans.get(batch.form) or self._plan
        return plan if plan is not None and plan.examples >= examples else self._plan_anew(batch)

    def _plan_anew(self, batch: ModelInputs) -> Plan:
        plan = self._planned(batch)
        self._plan = self._plans[batch.form] = plan
        while len(self._plans) > _FORMS:
            del self._plans[next(iter(self._plans))]
        return plan

    def _forget_plans(self) -> None:
        self._plan = None
        self._plans.clear()

    def _replanned(self, batch: ModelInputs, score: Callable[[Plan, ModelInputs], _Result]) -> _Result:
        """Score a batch, with a new plan where the one there turns out not to fit it."""
        plan, is_new = self._plan_for(batch), False
        while True:
            try:
                return score(plan, batch)
            except StalePlanError as stale:
                if self._folded.issuperset(stale.layers):
                    message = f"Expected a model that returns one row per example, but {stale}."
                    raise ModelError(message) from stale
                self._folded |= set(stale.layers)
            except OtherWayError as other:
                if is_new and len(batch) > 1:
                    raise _OneByOneError from other
                if is_new:
                    message = f"Expected a model that goes the same way for the same example, but {other}."
                    raise ModelError(message) from other
                is_new = True
            plan = self._plan_anew(batch)

    def _planned(self, batch: ModelInputs) -> Plan:
        def forward(count: int) -> Tensor:
            return forward_scores(self.model, batch.part(0, 1) if count == 1 else batch.pair())

        examples = 1 if self._one_by_one else min(len(batch), 2)
        plan = self._settled_plan(forward, examples, tried=False)
        if examples == 1 or not plan.mixes_examples:
            return plan
        self._one_by_one = True
        return self._planned(batch)

    def _settled_plan(self, forward: Callable[[int], Tensor], examples: int, *, tried: bool) -> Plan:
        """A plan for the layers that are scored, which the first run settles."""
        if self._layers is not None and not self._tried:
            return plan_recording(self.model, self._layers, forward, examples, self._folded)
        classes = 0

        def counted(count: int) -> Tensor:
            nonlocal classes
            scores = forward(count)
            classes = scores.shape[1] if scores.ndim > 1 else 1
            return scores

        plan = plan_recording(self.model, self._candidates, counted, examples, self._folded)
        before = self._layers
        with catch_warnings():
            if before is not None:
                simplefilter("ignore", UnscoredWeightsWarning)
            self._layers = DefaultLayers(self.model, self._candidates).settled(plan, classes, lambda: forward(1))
        self._tried = tried
        if before is not None and before != self._layers:
            change = filter_index(before).difference(filter_index(self._layers))
            message = (
                f"The default layers are others than a trial run with made-up inputs showed: {change}. What was read "
                "from `filters` before this first run no longer holds."
            )
            warn(message, DefaultLayersWarning, stacklevel=2)
        return plan.only(self._layers)

    def _try_out(self) -> bool:
        """Run the model on made-up inputs; whether one was taken.

        Raises:
            ModelError: It takes some, and returns no class scores for them.
        """
        refused: ModelError | None = None
        with frozen_eval(self.model):
            for tensor in synthetic_inputs(self.model):
                batch = ModelInputs.of(tensor)

                def forward(_: int, batch: ModelInputs = batch) -> Tensor:
                    with catch_warnings(), FittingLinears():
                        simplefilter("ignore")
                        return forward_scores(self.model, batch)

                try:
                    taken = _takes(forward)
                except ModelError as error:
                    # It may be that these inputs were none of its own.
                    refused = refused or error
                    continue
                if taken:
                    self._settled_plan(forward, 1, tried=True)
                    return True
        if refused is not None:
            raise refused
        return False

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
        warn(message, CutOffLayersWarning, stacklevel=2)

    def _differentiated(self, plan: Plan, batch: ModelInputs, objective: Objective) -> tuple[Tensor, ...]:
        recording = DifferentiableRecording(self.layers, plan, len(batch))
        leaves = [tensor.detach().requires_grad_() for tensor in batch.inputs]
        with watching_layers(recording, plan), twice_differentiable():
            with FrozenConvolutions():
                losses, logits = losses_of(self.model, self.loss, replace(batch, inputs=tuple(leaves)))
            profile = recording.profile(losses, like=logits)
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


_FORMS = 8
"""Shapes of inputs that plans are kept for."""


class _OneByOneError(Exception):
    """Examples of a batch go different ways through the model."""


def _labels_of(batch: ModelInputs, scores: Tensor) -> Tensor:
    """Label of each example, or its prediction; -1 where the loss takes no classes, ``(N,)``."""
    if batch.targets is not None:
        return torch.full((len(batch),), -1, dtype=torch.int64)
    labels = scores.argmax(dim=1) if batch.labels is None else batch.labels[:, 0]
    return labels.detach().cpu()


def _is_there(model: nn.Module, layer: FilterLayer) -> bool:
    try:
        return model.get_submodule(layer.name) is layer.module
    except AttributeError:
        return False


def _with_gradient(tensor: Tensor) -> Tensor:
    return tensor.detach().requires_grad_() if tensor.is_floating_point() else tensor


def _takes(forward: Callable[[int], Tensor]) -> bool:
    """Whether a model runs; it may run and return no class scores, a ModelError."""
    try:
        forward(1)
    except ModelError:
        raise
    except Exception:  # noqa: BLE001 -- whatever the model says of inputs that are not its own
        return False
    return True


def _require_finite_gradient(gradient: Tensor, start: int) -> None:
    if not torch.isfinite(gradient).all():
        example = int((~torch.isfinite(gradient)).flatten(1).any(dim=1).nonzero()[0])
        message = (
            f"Expected finite gradients with respect to the inputs, got NaN or infinity for example {start + example}."
        )
        raise InputError(message)


def _fast_size(count: int, largest_output: int, device: torch.device) -> int:
    """Examples in one pass: all of them, or equal parts whose largest feature map the allocator can use again."""
    if device.type != "cpu":
        return count
    fitting = max(1, REUSED_BYTES // max(largest_output, 1))
    return -(-count // -(-count // fitting))
