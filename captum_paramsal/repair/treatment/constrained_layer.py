"""The layer that a treatment constrains, while a model is trained: what of it is watched, and where that lies."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor, fx, nn

from captum_paramsal.errors import LayerError, TraceError
from captum_paramsal.graph import Network, maps_layout, record, tokens_layout
from captum_paramsal.hooks import (
    FeatureMaps,
    feature_maps,
    frozen_eval,
    require_single_call,
    twice_differentiable,
    watched_shares,
)
from captum_paramsal.repair.treatment.constraints import Constraints
from captum_paramsal.repair.treatment.training_items import TrainingItem


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

    def penalties(self, scores: Tensor, batch: TrainingItem) -> dict[str, Tensor]:
        """The constraints of a batch, see :meth:`Constraints.penalties`, from the last forward pass.

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
        return self.constraints.penalties(scores, values, batch.labels, batch.foreground, laid_out=self._laid_out)

    def _laid_out(self, evidence: Tensor) -> Tensor:
        """Evidence as ``(N, K, H, W)``; of attention, that in each head for each token that is looked at."""
        if self.constraints.part == "attention":
            # A token's share in what all others get.
            evidence = evidence.sum(dim=2).transpose(1, 2)
            layout = None if self._place is None else tokens_layout(*self._place, evidence.shape[1])
        elif self._place is None:
            return evidence
        else:
            layout = maps_layout(*self._place)
        if layout is None or len(layout.places) != 2:
            message = (
                f"Expected layer {self.constraints.layer!r} to hold maps of two dimensions, or tokens of such a map, "
                f"got shape {tuple(evidence.shape)}. Choose another layer."
            )
            raise LayerError(message)
        return layout.maps(evidence)
