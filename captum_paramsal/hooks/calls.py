"""What a module was called with, and what it returned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from captum_paramsal.errors import LayerError

__all__ = ["LayerCall", "tensors_in"]


def tensors_in(value: Any) -> list[Tensor]:
    """The tensors of a value and of the tuples, lists and dicts in it."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, Mapping):
        return [tensor for item in value.values() for tensor in tensors_in(item)]
    if isinstance(value, (tuple, list)):
        return [tensor for item in value for tensor in tensors_in(item)]
    return []


@dataclass(frozen=True)
class LayerCall:
    """One call of a module.

    Attributes:
        args: Positional arguments.
        kwargs: Keyword arguments.
        versions: How often each tensor argument had been written to.
    """

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    versions: tuple[int, ...] = ()

    @classmethod
    def of(cls, args: tuple[Any, ...], kwargs: Mapping[str, Any], *, copied: bool = False) -> LayerCall:
        """Keep a call for the backward pass, apart from the graph that its arguments belong to."""
        kept = tuple(_detached(value, copied=copied) for value in args)
        named = {key: _detached(value, copied=copied) for key, value in kwargs.items()}
        return cls(kept, named, tuple(tensor._version for tensor in tensors_in((kept, named))))  # noqa: SLF001 -- no public name

    @property
    def inputs(self) -> Tensor:
        """The tensor that the module works on."""
        return tensors_in((self.args, self.kwargs))[0]

    def named(self) -> dict[int | str, Any]:
        """Arguments by place and by name."""
        arguments: list[tuple[int | str, Any]] = [*enumerate(self.args), *self.kwargs.items()]
        return dict(arguments)

    def require_unwritten(self, name: str) -> None:
        """Refuse to work with arguments that were overwritten after the call.

        Raises:
            LayerError: One was.
        """
        if self.versions != tuple(tensor._version for tensor in tensors_in((self.args, self.kwargs))):  # noqa: SLF001
            message = (
                f"Expected the input of layer {name!r} to stay as it was until the backward pass, but a later in-place "
                "operation wrote over it. Make that operation return a new tensor (`inplace=False`)."
            )
            raise LayerError(message)


def _detached(value: Any, *, copied: bool) -> Any:
    if isinstance(value, Tensor):
        return value.detach().clone() if copied else value.detach()
    if type(value) in (tuple, list):
        return type(value)(_detached(item, copied=copied) for item in value)
    return value
