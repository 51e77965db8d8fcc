"""The default layers: known for certain once the model has run, since a Linear layer does not tell what it acts on."""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set as AbstractSet
from dataclasses import dataclass

from torch import Tensor, nn

from captum_paramsal.errors import LayerError, UnscoredWeightsWarning, warn_caller
from captum_paramsal.graph import class_score_layers
from captum_paramsal.hooks import FilterLayer, Plan, class_score_linears
from captum_paramsal.profiles.layers import no_default_layers

LARGE_SHARE = 0.1
"""Share of the weights that the default may leave out without a word."""


@dataclass(frozen=True)
class DefaultLayers:
    """Candidates for the default layers, and what a run makes of them.

    Attributes:
        model: The model.
        candidates: All layers that may be scored, some of them ``provisional``.
    """

    model: nn.Module
    candidates: tuple[FilterLayer, ...]

    def settled(self, plan: Plan, classes: int, forward: Callable[[], Tensor]) -> tuple[FilterLayer, ...]:
        """The layers that are scored.

        Args:
            plan: What a run of the model showed.
            classes: How many class scores the model returned.
            forward: Runs the model on one example.

        Raises:
            LayerError: No layer is left.

        Warns:
            UnscoredWeightsWarning: More than a tenth of the weights, class scores apart, is left out.
        """
        at_places = {layer.name for layer in self.candidates if layer.provisional and layer.name in plan.at_places}
        suspects = [layer for layer in self.candidates if layer.provisional and layer.count == classes]
        convolutions = class_score_layers(self.model)
        certain = {layer.name for layer in self.candidates if not layer.provisional}
        left = self._left_out(certain | at_places, convolutions)
        scores: frozenset[str] = frozenset()
        if any(layer.name in at_places for layer in suspects) or left.share > LARGE_SHARE:
            scores = class_score_linears(suspects, forward)
        kept = tuple(
            layer
            for layer in self.candidates
            if not layer.provisional or (layer.name in at_places and layer.name not in scores)
        )
        if not kept:
            raise LayerError(no_default_layers(self.model.modules()))
        left = self._left_out({layer.name for layer in kept}, convolutions | scores)
        if left.share > LARGE_SHARE:
            warn_caller(left.message, UnscoredWeightsWarning)
        return kept

    def _left_out(self, scored: set[str], scores: AbstractSet[str]) -> _LeftOut:
        """What is not scored, class scores apart."""
        named = dict(self.model.named_modules())
        apart = {id(p) for name in scores for p in named[name].parameters()}
        weights = {id(p): p.numel() for p in self.model.parameters() if p.ndim > 1 and id(p) not in apart}
        taken = {id(p) for name in scored for p in _own_parameters(named[name])}
        names: dict[str, int] = {}
        for name, module in named.items():
            inside = {id(p) for p in module.parameters(recurse=False)} - taken
            size = sum(weights.get(parameter, 0) for parameter in inside)
            taken |= inside
            if size and isinstance(getattr(module, "weight", None), Tensor):
                names[name] = size
        return _LeftOut(sum(names.values()) / max(1, sum(weights.values())), _largest(names))


@dataclass(frozen=True)
class _LeftOut:
    """What the default leaves out.

    Attributes:
        share: Of all weights.
        names: Layers, the largest first.
    """

    share: float
    names: Sequence[str]

    @property
    def message(self) -> str:
        """What to say of it."""
        shown = ", ".join(map(repr, self.names[:5]))
        more = f" and {len(self.names) - 5} more" if len(self.names) > 5 else ""
        return (
            f"The default layers leave out {self.share:.0%} of the weights ({shown}{more}): what is neither a "
            "convolution, nor attention, nor a Linear layer at places or tokens. Layers that are named are scored too: "
            f"`layers=[..., {shown}]`, on the command line `--layers ... {' '.join(self.names[:5])}`."
        )


def _own_parameters(module: nn.Module) -> list[Tensor]:
    # Those of an attention module are its projections'; those of a parametrized layer are in its parts.
    return list(module.parameters(recurse=not isinstance(module, nn.MultiheadAttention)))


def _largest(names: dict[str, int]) -> list[str]:
    return sorted(names, key=lambda name: -names[name])
