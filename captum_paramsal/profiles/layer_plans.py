"""Which layers of a model are scored, and how: settled by the first run, checked by each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar
from warnings import catch_warnings, simplefilter

import torch
from torch import Tensor, nn
from tqdm import tqdm

from captum_paramsal.batch import Form, ModelInputs, forward_scores, require_size
from captum_paramsal.errors import DefaultLayersWarning, LayerError, ModelError, UnscoredWeightsWarning, warn_caller
from captum_paramsal.filters import FilterIndex
from captum_paramsal.hooks import (
    FilterLayer,
    FittingLinears,
    OtherWayError,
    Plan,
    StalePlanError,
    computed_once,
    frozen_eval,
    plan_recording,
    synthetic_inputs,
)
from captum_paramsal.profiles.default_layers import DefaultLayers
from captum_paramsal.profiles.influence import mixes_examples
from captum_paramsal.profiles.layers import LayerSelection, filter_index, select_layers
from captum_paramsal.profiles.pending_filters import PendingFilters

REUSED_BYTES = 32 * 2**20
"""Larger tensors are mapped afresh by the C library at each allocation, page by page (``mallopt(3)``)."""

_FORMS = 64
"""Shapes of inputs that plans are kept for."""

_Result = TypeVar("_Result")


class LayerPlans:
    """The layers of a model that are scored, and a plan of the run for each shape of inputs.

    Args:
        model: In any state.
        layers: Layers to score, see :func:`captum_paramsal.profiles.layers.select_layers`.
        bias: Take each filter's entry of the layer's bias as one of its weights.

    Attributes:
        latest: The plan that was made last.
    """

    def __init__(self, model: nn.Module, layers: LayerSelection | None, *, bias: bool) -> None:
        self._model = model
        self._choice = layers, bias
        self._select()
        self._one_by_one = False

        if self._layers is None and self.fewest == 0:
            # Nothing is certain: if no layer at all is left, who builds this should know.
            self._try_out()

    @contextmanager
    def _passes(self) -> Iterator[None]:
        """The state in which the model is planned with and scored."""
        with frozen_eval(self._model), computed_once(self._model):
            yield

    def _select(self) -> None:
        """Look for the layers in the model as it is now."""
        layers, bias = self._choice
        with frozen_eval(self._model):
            self._candidates = select_layers(self._model, layers, bias=bias)
            # Inside, since reading a weight of spectral norm in training mode changes its buffers.
            filter_index(self._candidates)
        certain = not any(layer.provisional for layer in self._candidates)
        self._layers = self._candidates if certain else None
        self._tried = False
        self.latest: Plan | None = None
        self._plans: dict[Form, Plan] = {}
        self._folded: frozenset[str] = frozenset()

    @property
    def layers(self) -> tuple[FilterLayer, ...]:
        """The layers that are scored; before the first run, those that a trial run shows.

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
        """Of the layers; before the first run they are found out once something is asked."""
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

    def over(
        self,
        batch: ModelInputs,
        internal_batch_size: int | None,
        score: Callable[[Plan, ModelInputs], _Result],
        shown: str | None,
    ) -> list[_Result]:
        """What the parts of a batch become, one after the other, with a progress bar where it has a label."""
        with self._passes():
            self._follow_exchanges()
            while True:
                parts = self._cut(batch, internal_batch_size)
                try:
                    return [self._replanned(part, score) for part in tqdm(parts, desc=shown, disable=shown is None)]
                except _OneByOneError:
                    # Examples go different ways through the model: each goes its own.
                    self._one_by_one = True
                    self.latest = None
                    self._plans.clear()

    def parts(self, batch: ModelInputs, internal_batch_size: int | None) -> list[ModelInputs]:
        """The batch cut into what one pass takes: single examples where they influence each other."""
        with self._passes():
            self._follow_exchanges()
            return self._cut(batch, internal_batch_size)

    def prepare(self, batch: ModelInputs) -> None:
        """Plan the run of a batch, and score nothing."""
        with self._passes():
            self._follow_exchanges()
            self._plan_for(batch)

    def _follow_exchanges(self) -> None:
        """Look for the layers again where one of them is no longer the model's.

        Raises:
            LayerError: The model's layers have other filters now.
        """
        if all(_is_there(self._model, layer) for layer in self._candidates):
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

    def _cut(self, batch: ModelInputs, internal_batch_size: int | None) -> list[ModelInputs]:
        require_size(internal_batch_size)
        plan = self._plan_for(batch)
        size = internal_batch_size or _fast_size(len(batch), plan.largest_output, batch.inputs[0].device)
        size = 1 if self._one_by_one else size
        return [batch.part(start, size) for start in range(0, len(batch), size)]

    def _plan_for(self, batch: ModelInputs) -> Plan:
        examples = min(len(batch), 1 if self._one_by_one else 2)
        # Examples of another shape may influence each other where these did not. One alone cannot, and what it does
        # with the weights is held against the plan.
        plan = self._plans.get(batch.form) or (self.latest if examples == 1 else None)
        return plan if plan is not None and plan.examples >= examples else self._plan_anew(batch)

    def _plan_anew(self, batch: ModelInputs) -> Plan:
        plan = self._planned(batch)
        self.latest = self._plans[batch.form] = plan
        while len(self._plans) > _FORMS:
            del self._plans[next(iter(self._plans))]
        return plan

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
            return forward_scores(self._model, batch.part(0, 1) if count == 1 else batch.pair())

        examples = 1 if self._one_by_one else min(len(batch), 2)
        plan = self._settled_plan(forward, examples, tried=False)
        # The plan's runs are of one and of two examples, whose rounding differs; these are both of two.
        if examples == 1 or not (mixes_examples(self._model, batch) or plan.mixes_examples):
            return plan
        self._one_by_one = True
        return self._planned(batch)

    def _settled_plan(self, forward: Callable[[int], Tensor], examples: int, *, tried: bool) -> Plan:
        """A plan for the layers that are scored, which the first run settles."""
        if self._layers is not None and not self._tried:
            return plan_recording(self._model, self._layers, forward, examples, self._folded)
        classes = 0

        def counted(count: int) -> Tensor:
            nonlocal classes
            scores = forward(count)
            classes = scores.shape[1] if scores.ndim > 1 else 1
            return scores

        plan = plan_recording(self._model, self._candidates, counted, examples, self._folded)
        before = self._layers
        with catch_warnings():
            if before is not None:
                simplefilter("ignore", UnscoredWeightsWarning)
            self._layers = DefaultLayers(self._model, self._candidates).settled(plan, classes, lambda: forward(1))
        self._tried = tried
        if before is not None and before != self._layers:
            change = filter_index(before).difference(filter_index(self._layers))
            message = (
                f"The default layers are others than a trial run with made-up inputs showed: {change}. What was read "
                "from `filters` before this first run no longer holds."
            )
            warn_caller(message, DefaultLayersWarning)
        return plan.only(self._layers)

    def _try_out(self) -> bool:
        """Run the model on made-up inputs; whether one was taken.

        Raises:
            ModelError: It takes some, and returns no class scores for them.
        """
        refused: ModelError | None = None
        with self._passes():
            for tensor in synthetic_inputs(self._model):
                batch = ModelInputs.of(tensor)

                def forward(_: int, batch: ModelInputs = batch) -> Tensor:
                    with catch_warnings(), FittingLinears():
                        simplefilter("ignore")
                        return forward_scores(self._model, batch)

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


class _OneByOneError(Exception):
    """Examples of a batch go different ways through the model."""


def _is_there(model: nn.Module, layer: FilterLayer) -> bool:
    try:
        return model.get_submodule(layer.name) is layer.module
    except AttributeError:
        return False


def _takes(forward: Callable[[int], Any]) -> bool:
    """Whether a model runs; it may run and return no class scores, a ModelError."""
    try:
        forward(1)
    except ModelError:
        raise
    except Exception:  # noqa: BLE001 -- whatever the model says of inputs that are not its own
        return False
    return True


def _fast_size(count: int, largest_output: int, device: torch.device) -> int:
    """Examples in one pass: all of them, or equal parts whose largest feature map the allocator can use again."""
    if device.type != "cpu":
        return count
    fitting = max(1, REUSED_BYTES // max(largest_output, 1))
    return -(-count // -(-count // fitting))
