"""A model that is taken apart at layers: which layers are meant, and images seen there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

from torch import nn
from tqdm.auto import tqdm

from captum_paramsal.batch import ModelInputs, forward_errors, require_size
from captum_paramsal.doctor.layer_pass import LayerActivations, SplitNetwork
from captum_paramsal.errors import LayerError
from captum_paramsal.graph import Network, last_feature_maps, probed_network
from captum_paramsal.hooks import frozen_eval, layer_named, scored_model
from captum_paramsal.profiles.influence import Influence

NamedLayers: TypeAlias = str | nn.Module | Sequence[str | nn.Module]
"""Name of a layer, or the module; or several."""


class SplitModel:
    """A model that is divided at layers.

    Args:
        model: Left as it is.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = scored_model(model)
        self._parts_at: dict[tuple[str, bool], SplitNetwork] = {}
        self._influence = Influence(self.model)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_parts_at": {}}

    def names(self, layer: NamedLayers) -> tuple[str, ...]:
        """Names of the layers that are meant.

        Raises:
            LayerError: There is no such layer.
        """
        choices = [layer] if isinstance(layer, (str, nn.Module)) else list(layer)
        if not choices:
            message = "Expected at least one layer in `layer`, got an empty sequence."
            raise LayerError(message)
        return tuple(_name_of(self.model, choice) for choice in choices)

    def likely_name(self) -> str | None:
        """Name of the layer with the last feature maps, in a run on made-up inputs; None where none of them runs.

        Raises:
            LayerError: There are no last maps.
        """
        with frozen_eval(self.model):
            network = probed_network(self.model)
        return None if network is None else self._last_maps(network)

    def default_name(self, batch: ModelInputs) -> str:
        """Name of the layer with the last feature maps.

        Raises:
            LayerError: There are no last maps.
        """
        part = batch.part(0, 2)
        with frozen_eval(self.model), forward_errors(batch.shapes):
            network = part.passed_to(lambda *args, **kwargs: Network.of(self.model, *args, **kwargs))
        return self._last_maps(network)

    def _last_maps(self, network: Network) -> str:
        name = last_feature_maps(network)
        if name is None:
            message = (
                f"Expected `layer`, since no module of {type(self.model).__name__} was found to return feature maps "
                "(N, K, H, W) before a last pool or flattening."
            )
            raise LayerError(message)
        return name

    def at(self, layer: str, *, to_input: bool = False) -> SplitNetwork:
        """The model in two parts.

        Args:
            layer: Its name.
            to_input: Divide at the tensor that the layer is given.
        """
        if (layer, to_input) not in self._parts_at:
            self._parts_at[layer, to_input] = SplitNetwork(self.model, layer, to_input=to_input)
        return self._parts_at[layer, to_input]

    def activations(
        self, batch: ModelInputs, layer: str, size: int | None, *, to_input: bool = False, shown: str | None = None
    ) -> Iterator[LayerActivations]:
        """A batch at a layer, part by part; image by image, and copy by copy, where they have influence on each other.

        Args:
            batch: Images.
            layer: Its name.
            size: Images in a part; None for all.
            to_input: See :meth:`at`.
            shown: Label of a progress bar; None for no bar.
        """
        require_size(size)
        size = 1 if self._influence.within(batch) else size
        divided, step = self.at(layer, to_input=to_input), size or len(batch)
        for start in tqdm(range(0, len(batch), step), desc=shown, disable=shown is None, leave=False):
            yield divided.run_to_layer(batch.part(start, step), size)


def _name_of(model: nn.Module, layer: str | nn.Module) -> str:
    """The first name of a layer; in a wrapped model its name there is understood too."""
    named = list(model.named_modules())
    if isinstance(layer, str) and layer not in dict(named):
        layer = layer.removeprefix("module.").removeprefix("_orig_mod.")
    _, module = layer_named(model, layer)
    names: list[str] = [name for name, other in named if other is module]
    return names[0]
