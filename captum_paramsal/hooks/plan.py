"""Where the gradients of each layer's weight can be taken, found out by running the model on one and two examples.

Most layers are called and work on the examples one by one: a hook on the layer sees all it needs. Some weights are used
by a parent (attention's output projection, windowed attention), by two kinds of layer, or on examples folded together
or in another order; their gradients are taken on the ``torch.func`` path, from the nearest module around all uses that
keeps the examples apart. Weights that nothing uses, like auxiliary heads in evaluation mode, have gradient zero.

A layer keeps the examples apart if its inputs and outputs have one row per example in both runs, and the row of the
first example is the same whether or not a second one stands beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from captum_paramsal.errors import LayerError
from captum_paramsal.hooks.filter_layer import FilterLayer
from captum_paramsal.hooks.layer_rules import CONVOLUTIONS
from captum_paramsal.hooks.rules import rule_of
from captum_paramsal.hooks.uses import WeightUses, watching


@dataclass(frozen=True)
class Plan:
    """How each layer is scored.

    Attributes:
        hooked: Modules whose own calls give the gradients of a layer, by that layer's name; a weight that several
            layers share has several.
        functions: Where the examples are (see :func:`~captum_paramsal.hooks.functions.examples_first`), by the name of
            a layer whose weight is used in functions that multiply by it.
        through: Module whose calls give them on the ``torch.func`` path, by the layer's name.
        at_places: Layers that are applied at places or tokens.
        unused: Layers whose weight takes no part in the forward pass.
        uses: How often functions were given a layer's weights, and how often its modules were called, by the name of a
            layer with hooks: more uses for as many calls are some that no hook sees.
        batched_arguments: For modules of ``through``, which arguments hold one row per example.
        largest_output: Bytes of the largest tensor that any module returns for one example.
        examples: Examples that it was found out with.
        mixes_examples: Whether an example's scores depend on the example beside it, or its way through the model on
            its values: such a model is run on one example at a time.
    """

    hooked: Mapping[str, tuple[nn.Module, ...]]
    functions: Mapping[str, int]
    through: Mapping[str, nn.Module]
    at_places: frozenset[str]
    unused: frozenset[str]
    uses: Mapping[str, tuple[int, int]]
    batched_arguments: Mapping[nn.Module, frozenset[int | str]]
    largest_output: int
    examples: int
    mixes_examples: bool

    def only(self, layers: Sequence[FilterLayer]) -> Plan:
        """The plan for some of its layers."""
        names = {layer.name for layer in layers}
        return replace(
            self,
            hooked={name: modules for name, modules in self.hooked.items() if name in names},
            functions={name: dimension for name, dimension in self.functions.items() if name in names},
            through={name: module for name, module in self.through.items() if name in names},
            unused=self.unused & names,
            uses={name: counts for name, counts in self.uses.items() if name in names},
        )


def plan_recording(
    model: nn.Module,
    layers: Sequence[FilterLayer],
    forward: Callable[[int], Any],
    examples: int = 2,
    folded: frozenset[str] = frozenset(),
) -> Plan:
    """Run the model on one and on two examples and decide how each layer is scored.

    Args:
        model: The model, in evaluation mode.
        layers: Layers to score.
        forward: Runs the model on so many examples, the first ones of the batch.
        examples: 2, or 1 for a plan that will serve batches of one only.
        folded: Layers that were seen with other than one row per example.

    Raises:
        LayerError: A layer that the caller named is never reached.
    """
    watched = frozenset(id(w) for layer in layers if _is_known(layer) for w in layer.weights)
    uses = WeightUses()
    # With one example and with two: only the comparison shows which tensors have a row for each example.
    for count in range(1, examples + 1):
        with watching(model, watched, uses, count):
            forward(count)
    names = {module: name for name, module in model.named_modules()}
    hooked: dict[str, tuple[nn.Module, ...]] = {}
    functions: dict[str, int] = {}
    through: dict[str, nn.Module] = {}
    unused = set()
    for layer in layers:
        users = _users(layer, uses)
        if not users and layer.explicit:
            raise LayerError(_never_reached(layer.name))
        if not users:
            unused.add(layer.name)
            continue
        if layer.name in folded:
            # Its calls have other than one row per example, so each example goes through the whole model by itself.
            through[layer.name] = model
            continue
        modules, dimension = _hookable(model, layer, users, uses), _dimension(layer, uses)
        # Hooks cost less than looking at every function, but those on attention see no projection: it is made again.
        if modules is not None and (dimension is None or not isinstance(layer.module, nn.MultiheadAttention)):
            hooked[layer.name] = modules
        elif dimension is not None:
            functions[layer.name] = dimension
        else:
            through[layer.name] = _owner(model, layer, users, uses)
    batched = {module: uses.batched_arguments(names[module]) for module in through.values()}
    largest = max(call.bytes for calls in uses.calls[1].values() for call in calls)
    at_places = frozenset(layer.name for layer in layers if _at_places(layer, uses))
    mixes = uses.mixes_examples or takes_batch_statistics(model)
    counts = {layer.name: _counts(layer, hooked[layer.name], names, uses) for layer in layers if layer.name in hooked}
    return Plan(hooked, functions, through, at_places, frozenset(unused), counts, batched, largest, examples, mixes)


def _counts(
    layer: FilterLayer, modules: Sequence[nn.Module], names: Mapping[nn.Module, str], uses: WeightUses
) -> tuple[int, int]:
    """How often a layer's weights were given to functions, and its modules called, with one example."""
    touched = sum(uses.touched[weight] for weight in {id(weight) for weight in layer.weights})
    return touched, sum(len(uses.calls[1][names[module]]) for module in modules)


def takes_batch_statistics(model: nn.Module) -> bool:
    """Whether a batch norm normalizes by the batch in evaluation mode too, having kept no statistics."""
    return any(isinstance(module, _BatchNorm) and module.running_mean is None for module in model.modules())


def _users(layer: FilterLayer, uses: WeightUses) -> set[str]:
    """Names of the modules that a layer's weights are used in."""
    if _is_known(layer):
        return set().union(*(uses.users.get(id(weight), set()) for weight in layer.weights))
    # A weight that is another tensor whenever it is read can only be told by the calls of its layer.
    return {layer.name} if uses.calls[1][layer.name] else set()


def _is_known(layer: FilterLayer) -> bool:
    """Whether a layer's weights are the same tensors whenever they are read, such as parameters."""
    return all(weight is again for weight, again in zip(layer.weights, layer.weights, strict=True))


def _hookable(model: nn.Module, layer: FilterLayer, users: set[str], uses: WeightUses) -> tuple[nn.Module, ...] | None:
    """The modules to hook, if each use of the weight is a call of a layer like this one, examples apart."""
    known = isinstance(layer.module, (nn.Linear, *CONVOLUTIONS))
    if layer.rule.gradients is None or (layer.bias and not known):
        return None
    modules = tuple(model.get_submodule(name) for name in sorted(users))
    for name, module in zip(sorted(users), modules, strict=True):
        like = module is layer.module or (
            type(module) is type(layer.module)
            and rule_of(module) == layer.rule
            and (not layer.bias or getattr(module, "bias", None) is getattr(layer.module, "bias", None))
            and all(a is b for a, b in zip(layer.rule.weights(module), layer.rule.weights(layer.module), strict=True))
        )
        # What attention returns besides its tokens, the hook on these does not see.
        if name in uses.read_besides:
            return None
        # Only a call with one row for each example has a gradient that can be told apart by example.
        dimension = layer.rule.batch_dimension(module)
        if not like or not uses.keeps_examples(name, dimension):
            return None
    return modules


def _dimension(layer: FilterLayer, uses: WeightUses) -> int | None:
    """Dimension of the examples, if each use of the weight is a call of a function that multiplies by it."""
    weight, *biases = layer.weights
    if layer.rule.of_rows is None or len(biases) > layer.bias or not _is_known(layer):
        return None
    return uses.functions.dimension(id(weight), id(biases[0]) if biases else None, linear=weight.ndim == 2)


def _at_places(layer: FilterLayer, uses: WeightUses) -> bool:
    """Whether what the layer is applied to has, beside examples and features, dimensions of places or tokens."""
    weight = layer.weights[0]
    shapes = uses.functions.inputs(id(weight)) if _is_known(layer) else []
    shapes = shapes or [call.arguments[0] for call in uses.calls[1][layer.name] if 0 in call.arguments]
    # Run on one example, so more than one row of features means places.
    return any(len(shape) > 2 or (len(shape) == 2 and shape[0] > 1) for shape in shapes)


def _owner(model: nn.Module, layer: FilterLayer, users: set[str], uses: WeightUses) -> nn.Module:
    """The innermost module around a layer's weights and all their uses that keeps the examples in dimension 0."""
    weights = {id(weight) for weight in layer.weights}
    paths = [name.split(".") if name else [] for name in users]
    shared = 0
    while all(len(path) > shared for path in paths) and len({path[shared] for path in paths}) == 1:
        shared += 1
    # From the inside out: the smaller the module, the less has to run again for each example.
    names = [".".join(paths[0][:depth]) for depth in range(shared, 0, -1)]
    around = (model.get_submodule(name) for name in names if uses.keeps_examples(name, 0))
    return next((one for one in around if weights <= set(map(id, one.parameters()))), model)


def _never_reached(name: str) -> str:
    return (
        f"Expected every layer named in `layers` to take part in the forward pass, but {name!r} is never reached in "
        "evaluation mode. Leave it out, or name the layer that does its work."
    )


class _PlanError(Exception):
    """What a run showed of layers that the plan does not go with.

    Attributes:
        layers: Their names.
    """

    what: ClassVar[str]

    def __init__(self, layers: Sequence[str]) -> None:
        super().__init__(f"{', '.join(layers)}: {self.what}")
        self.layers = tuple(layers)


class StalePlanError(_PlanError):
    """Layers were called with other than one row per example, unlike in the run that was planned with."""

    what = "other than one row per example"


class OtherWayError(_PlanError):
    """Other layers took part than in the run that was planned with."""

    what = "took part in one run and not in another"


class HiddenCallsError(_PlanError):
    """Layers ran where no gradient goes, in blocks that run again in the backward pass or under `torch.no_grad`."""

    what = "ran without gradients"


def weights_inside(module: nn.Module, layers: Sequence[FilterLayer]) -> dict[str, Tensor]:
    """The layers' parameters under the names that they have in a module around them.

    Raises:
        LayerError: A weight is no parameter, but computed.
    """
    wanted = {id(weight): layer.name for layer in layers for weight in layer.weights}
    found: dict[str, Tensor] = {
        name: parameter for name, parameter in module.named_parameters() if id(parameter) in wanted
    }
    computed = wanted.keys() - {id(parameter) for parameter in found.values()}
    if computed:
        message = (
            f"Expected a parameter as the weight of {wanted[min(computed)]!r}, whose uses only `torch.func` can tell "
            "apart by example, got one that is computed for each pass (weight norm, spectral norm, pruning). Make it a "
            "parameter first, with `prune.remove(layer, 'weight')`, `remove_parametrizations(layer, 'weight')`, "
            "`remove_weight_norm` or `remove_spectral_norm`, or leave the layer out."
        )
        raise LayerError(message)
    return found
