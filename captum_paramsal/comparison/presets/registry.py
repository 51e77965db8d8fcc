"""The list of methods that have a name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import import_module
from types import MappingProxyType
from typing import Any, TypeAlias, TypeVar

from torch import Tensor, nn

from captum_paramsal.errors import InputError
from captum_paramsal.hooks import Output, scored_model, two_class_view
from captum_paramsal.metrics import InputMaps
from captum_paramsal.reference import Reference

BuildsMaps: TypeAlias = Callable[[nn.Module, Reference | None], InputMaps]


class _Multiplying:
    """A function whose maps hold changes of the output, not changes per unit of the input."""

    # Checkpoints of comparisons, which are resumed, know methods by this name.

    multiplies_by_inputs = True

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def __call__(self, inputs: Tensor, target: Any = None, additional_forward_args: Any = None) -> Any:
        """Maps."""
        return self._function(inputs, target, additional_forward_args)


@dataclass(frozen=True)
class Preset:
    """A method with the settings that it is compared with.

    Attributes:
        build: From a model, and a reference for methods that need one, to maps of the inputs' shape.
        description: What it is, in a line.
        needs_reference: Whether it cannot do without a reference.
        by_default: Whether it is among the methods that are compared where none is named.
    """

    build: BuildsMaps
    description: str
    needs_reference: bool = False
    by_default: bool = True


Builder = TypeVar("Builder", bound=BuildsMaps)

_presets: dict[str, Preset] = {}

PRESETS: Mapping[str, Preset] = MappingProxyType(_presets)
"""Captum's methods, ours, two that look at nothing, and those that were registered."""


def register_preset(
    name: str, *, description: str, needs_reference: bool = False, by_default: bool = True
) -> Callable[[Builder], Builder]:
    """Decorate what builds a method, and :func:`compare`, the command line and Quantus find it by name.

    Args:
        name: In lists of methods and in tables.
        description: What it is, in a line.
        needs_reference: Whether it cannot do without a reference.
        by_default: Whether ``captum-paramsal compare`` takes it where no methods are named.

    Returns:
        A decorator of a function of the model, and of a reference or None, that gives an :class:`InputMaps`.

    Raises:
        InputError: The name is another preset's.
    """
    if name in _presets:
        message = f"Expected a name that no preset has, got {name!r}, which is: {_presets[name].description}."
        raise InputError(message)

    def register(build: Builder) -> Builder:
        _presets[name] = Preset(build, description, needs_reference, by_default)
        return build

    return register


def preset(
    name: str, model: nn.Module, reference: Reference | None = None, *, output: Output | None = None
) -> InputMaps:
    """A method by name.

    Args:
        name: One of :data:`PRESETS`.
        model: The classifier.
        reference: What every filter usually does; for methods that need it.
        output: What makes class scores ``(N, C)`` of what the model returns, where it returns something else than
            these or ``logits``.

    Raises:
        InputError: No such name, no reference where one is needed, or a library that is not installed.
        LayerError: The model has no layers of the kind that the method works on.
    """
    if name not in PRESETS:
        near = get_close_matches(name, PRESETS, n=3, cutoff=0.4)
        message = f"Expected the name of a method, one of {', '.join(PRESETS)}, got {name!r}" + (
            f"; nearest: {', '.join(near)}." if near else "."
        )
        raise InputError(message)
    chosen = PRESETS[name]
    if chosen.needs_reference and reference is None:
        message = f"Expected a `reference` for {name!r}, which scores filters against one, got None."
        raise InputError(message)
    return chosen.build(two_class_view(scored_model(model, output)), reference)


def required(module: str, method: str, extra: str) -> Any:
    """A module of an optional library.

    Args:
        module: Its name.
        method: The preset that needs it.
        extra: The optional dependencies of this package that it is among.

    Raises:
        InputError: It is not installed.
    """
    try:
        return import_module(module)
    except ImportError as error:
        library = module.partition(".")[0]
        message = (
            f'Expected {library} for {method!r}, which is not installed: `pip install "captum-paramsal[{extra}]"`.'
        )
        raise InputError(message) from error
