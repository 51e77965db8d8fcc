"""A model that is taken apart at layers: which layers are meant, and images seen there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

from torch import nn
from tqdm.auto import tqdm

from captum_paramsal.batch import ModelInputs, require_size
from captum_paramsal.doctor.layer_pass import HookedNetwork, LayerActivations, SplitNetwork
from captum_paramsal.errors import LayerError, TraceError
from captum_paramsal.graph import Network, last_feature_maps
from captum_paramsal.hooks import frozen_eval, layer_named, scored_model

NamedLayers: TypeAlias = str | nn.Module | Sequence[str | nn.Module]
"""Name of a layer, or the module; or several."""


class SplitModel:
    """A model with the ways in which it was divided so far.

    Args:
        model: Left as it is; captured with ``torch.fx`` when this is first needed, and whenever it was copied or read
            from a file.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = scored_model(model)
        self._network: Network | TraceError | None = None
        self._parts_at: dict[tuple[str, bool], SplitNetwork | HookedNetwork] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_network": None, "_parts_at": {}}

    @property
    def network(self) -> Network | TraceError:
        """The captured network, or why it cannot be captured."""
        if self._network is None:
            with frozen_eval(self.model):
                try:
                    self._network = Network.of(self.model)
                except TraceError as error:
                    # Without what the exception holds on to.
                    self._network = TraceError(str(error))
        return self._network

    def names(self, layer: NamedLayers | None) -> tuple[str, ...]:
        """Names of the layers that are meant.

        Args:
            layer: None for the last feature maps before the head.

        Raises:
            LayerError: No such layer, or no last maps.
        """
        if layer is not None:
            choices = [layer] if isinstance(layer, (str, nn.Module)) else list(layer)
            if not choices:
                message = "Expected at least one layer in `layer`, got an empty sequence."
                raise LayerError(message)
            return tuple(_name_of(self.model, choice) for choice in choices)
        found = last_feature_maps(self.network) if isinstance(self.network, Network) else None
        if found is None:
            why = f" {self.network}" if isinstance(self.network, TraceError) else ""
            message = (
                f"Expected `layer`, since no module of {type(self.model).__name__} was found to return feature maps "
                f"(N, K, H, W) before a last pool or flattening.{why}"
            )
            raise LayerError(message)
        return (found,)

    def at(self, layer: str, *, to_input: bool = False) -> SplitNetwork | HookedNetwork:
        """The model in two parts; by hooks where it cannot be captured.

        Args:
            layer: Its name.
            to_input: Divide at the tensor that the layer is given.

        Raises:
            LayerError: A layer that is not called exactly once, or ``to_input`` in a model that cannot be captured.
        """
        key = (layer, to_input)
        if key not in self._parts_at:
            self._parts_at[key] = self._parts(layer, to_input=to_input)
        return self._parts_at[key]

    def activations(
        self, batch: ModelInputs, layer: str, size: int | None, *, to_input: bool = False, shown: str | None = None
    ) -> Iterator[LayerActivations]:
        """A batch at a layer, part by part.

        Args:
            batch: Images.
            layer: Its name.
            size: Images in a part; None for all.
            to_input: See :meth:`at`.
            shown: Label of a progress bar; None for no bar.
        """
        require_size(size)
        divided, step = self.at(layer, to_input=to_input), size or len(batch)
        for start in tqdm(range(0, len(batch), step), desc=shown, disable=shown is None, leave=False):
            yield divided.run_to_layer(batch.part(start, step))

    def _parts(self, name: str, *, to_input: bool) -> SplitNetwork | HookedNetwork:
        if isinstance(self.network, Network):
            return SplitNetwork(self.network, name, to_input=to_input)
        if to_input:
            message = (
                "Expected a model that can be captured for `attribute_to_layer_input`, since others may read the same "
                f"tensor as layer {name!r} does. {self.network}"
            )
            raise LayerError(message)
        return HookedNetwork(self.model, name)


def _name_of(model: nn.Module, layer: str | nn.Module) -> str:
    """The first name of a layer; in a wrapped model its name there is understood too."""
    named = list(model.named_modules())
    if isinstance(layer, str) and layer not in dict(named):
        layer = layer.removeprefix("module.").removeprefix("_orig_mod.")
    _, module = layer_named(model, layer)
    names: list[str] = [name for name, one in named if one is module]
    return names[0]
