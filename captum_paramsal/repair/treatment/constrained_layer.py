"""The layer that a treatment constrains, while a model is trained: what of it is watched, and where that lies."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from torch import Tensor, fx, nn

from captum_paramsal.errors import LayerError, TraceError
from captum_paramsal.graph import MapsLayout, Network, maps_layout, record, tokens_layout
from captum_paramsal.hooks import (
    FeatureMaps,
    feature_maps,
    frozen_eval,
    replaced_maps,
    require_single_call,
    scratch_buffers,
    twice_differentiable,
    unwrap,
    watched_shares,
)
from captum_paramsal.repair.treatment.constraints import Constraints
from captum_paramsal.repair.treatment.training_items import TrainingItem, scores_of


class ConstrainedLayer:
    """The layer of a treatment's constraints.

    Args:
        constraints: What is asked of it.

    Attributes:
        constraints: The same.
    """

    def __init__(self, constraints: Constraints) -> None:
        self.constraints = constraints
        self._maps: FeatureMaps | None = None
        self._place: tuple[Network, fx.Node] | None = None
        self._is_settled = False
        self._noise: Tensor | None = None

    @contextmanager
    def watched(self, model: nn.Module) -> Iterator[None]:
        """See the layer in the forward passes of a model, while this context lasts.

        Raises:
            LayerError: The model has no such layer.
        """
        watching = watched_shares if self.constraints.part == "attention" else feature_maps
        # A constraint is made of gradients, and is differentiated itself.
        with watching(model, self.constraints.layer) as self._maps, twice_differentiable():
            yield

    def settle(self, model: nn.Module, batch: TrainingItem) -> None:
        """Find out, in a run of a first batch, how the layer holds maps.

        Raises:
            LayerError: The layer is not called once in it.
        """
        if self._is_settled:
            return
        self._is_settled = True
        try:
            with frozen_eval(model):
                recording = record(model, (batch.inputs,))
        except TraceError:
            # A model that cannot be followed: what looks like maps is taken for maps.
            return
        calls = recording.calls.get(self.constraints.layer, [])
        require_single_call(self.constraints.layer, len(calls))
        node = calls[0].returned or calls[0].given
        if node is not None:
            self._place = Network.recorded(recording), node

    def values(self, scores: Tensor) -> Tensor:
        """What the layer held in the last forward pass.

        Args:
            scores: What the model returned in it.

        Raises:
            LayerError: It did not reach the layer, or what the layer gave has no places.
        """
        if self._maps is None:
            message = f"Expected layer {self.constraints.layer!r} to be watched."
            raise LayerError(message)
        values = self._maps.latest
        if len(values) != len(scores):
            message = (
                f"Expected one row for each of {len(scores)} images in layer {self.constraints.layer!r}, got shape "
                f"{tuple(values.shape)}, as of windows. Choose another layer, or the output of this one."
            )
            raise LayerError(message)
        return values

    def penalties(self, model: nn.Module, scores: Tensor, values: Tensor, batch: TrainingItem) -> dict[str, Tensor]:
        """The constraints of a batch, see :meth:`Constraints.penalties`.

        Args:
            model: Runs again on perturbed copies, if the constraints want any.
            scores: What it returned for the batch.
            values: What the layer held then.
            batch: The batch.
        """
        copies = self._copies(model, values, batch)
        return self.constraints.penalties(
            scores, values, batch.labels, batch.foreground, laid_out=self._laid_out, copies=copies
        )

    def _copies(self, model: nn.Module, values: Tensor, batch: TrainingItem) -> list[tuple[Tensor, Tensor]]:
        """Scores and what the layer holds, of each perturbed copy."""
        settings = self.constraints.perturbed
        if not settings.noise_samples or not settings.noise_range:
            return []
        layout = self._layout(values)
        maps = values if layout is None else layout.maps(values)
        if self._noise is None or self._noise.shape[1:] != maps.shape[1:]:
            self._noise = settings.noise_for(maps.shape[1:]).to(maps)
        copies = []
        for noise in self._noise:
            perturbed = maps + noise
            perturbed = perturbed if layout is None else layout.tensor(perturbed, values)
            # A copy of it goes on, since an operation in place would write over what is differentiated by.
            given = partial(_copy_of, perturbed)
            with replaced_maps(unwrap(model), self.constraints.layer, given), scratch_buffers(model):
                copies.append((scores_of(model, batch), perturbed))
        return copies

    def _layout(self, values: Tensor) -> MapsLayout | None:
        """How the layer's output holds maps; None for a model that cannot be followed: it is taken for maps.

        Raises:
            LayerError: It holds none of two dimensions.
        """
        if self._place is None:
            return None
        return self._require_two(maps_layout(*self._place), values)

    def _laid_out(self, evidence: Tensor) -> Tensor:
        """Evidence as ``(N, K, H, W)``; of attention, that in each head for each token that is looked at."""
        if self.constraints.part == "attention":
            # A token's share in what all others get.
            evidence = evidence.sum(dim=2).transpose(1, 2)
            tokens = None if self._place is None else tokens_layout(*self._place, evidence.shape[1])
            return self._require_two(tokens, evidence).maps(evidence)
        layout = self._layout(evidence)
        return evidence if layout is None else layout.maps(evidence)

    def _require_two(self, layout: MapsLayout | None, values: Tensor) -> MapsLayout:
        if layout is None or len(layout.places) != 2:
            message = (
                f"Expected layer {self.constraints.layer!r} to hold maps of two dimensions, or tokens of such a map, "
                f"got shape {tuple(values.shape)}. Choose another layer."
            )
            raise LayerError(message)
        return layout


def _copy_of(perturbed: Tensor, _: Tensor) -> Tensor:
    return perturbed.clone()
