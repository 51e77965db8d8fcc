"""All that a treatment asks, of one layer or several."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from torch import Tensor, nn

from captum_paramsal.errors import InputError
from captum_paramsal.repair.treatment.constrained_layer import ConstrainedLayer
from captum_paramsal.repair.treatment.constraints import Constraints
from captum_paramsal.repair.treatment.training_items import TrainingItem


@dataclass(frozen=True)
class Term:
    """One constraint on one layer, as a term of the loss.

    Attributes:
        kind: "channel" or "space".
        layer: Name of the layer.
        strength: How strong it is.
        relative: Whether the strength is a multiple of the loss before the treatment.
    """

    kind: str
    layer: str
    strength: float
    relative: bool


class ConstrainedLayers:
    """The layers of a treatment's constraints.

    Args:
        constraints: What is asked of each.

    Attributes:
        terms: Each constraint by its name in the loss: "channel" and "space"; where several layers are constrained
            the layer's name follows, as in "space layer3".

    Raises:
        InputError: The same constraint is given twice for a layer.
    """

    def __init__(self, constraints: Sequence[Constraints]) -> None:
        self._layers = [ConstrainedLayer(each) for each in constraints]
        self._named = len(self._layers) > 1
        self.terms: dict[str, Term] = {}
        for each in constraints:
            for kind, strength in each.strengths.items():
                name = self._name(kind, each)
                if name in self.terms:
                    message = (
                        f"Expected each constraint once for a layer, got the {kind} constraint of {each.layer!r} twice."
                    )
                    raise InputError(message)
                self.terms[name] = Term(kind, each.layer, strength, each.relative)

    @contextmanager
    def watched(self, model: nn.Module) -> Iterator[None]:
        """See the layers in the forward passes of a model, while this context lasts.

        Raises:
            LayerError: The model has no such layer.
        """
        with ExitStack() as stack:
            for layer in self._layers:
                stack.enter_context(layer.watched(model))
            yield

    def settle(self, model: nn.Module, batch: TrainingItem) -> None:
        """Find out, in a run of a first batch, how the layers hold maps; see :meth:`ConstrainedLayer.settle`."""
        for layer in self._layers:
            layer.settle(model, batch)

    def penalties(self, model: nn.Module, scores: Tensor, batch: TrainingItem) -> dict[str, Tensor]:
        """The constraints of a batch by name, without weights, see :meth:`ConstrainedLayer.penalties`."""
        # All of them, before another pass on perturbed copies puts what it has in their place.
        held = [layer.values(scores) for layer in self._layers]
        return {
            self._name(kind, layer.constraints): value
            for layer, values in zip(self._layers, held, strict=True)
            for kind, value in layer.penalties(model, scores, values, batch).items()
        }

    def _name(self, kind: str, constraints: Constraints) -> str:
        part = "" if constraints.part == "output" else f".{constraints.part}"
        return f"{kind} {constraints.layer}{part}" if self._named else kind


def all_of(constraints: Constraints | Sequence[Constraints] | None) -> tuple[Constraints, ...]:
    """Constraints of one layer, of several or of none, as they may be given.

    Raises:
        InputError: Something else is among them.
    """
    if constraints is None:
        return ()
    several = (constraints,) if isinstance(constraints, Constraints) else constraints
    strange = (
        [each for each in several if not isinstance(each, Constraints)]
        if isinstance(several, (tuple, list))
        else [several]
    )
    if strange:
        message = f"Expected `constraints` to be Constraints, a list of them or None, got {strange[0]!r}."
        raise InputError(message)
    return tuple(several)
