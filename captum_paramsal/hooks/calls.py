"""What a module was called with, and what it returned."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from captum_paramsal.errors import LayerError


def tensors_in(value: Any) -> list[Tensor]:
    """The tensors of a value and of the tuples, lists and dicts in it."""
    if isinstance(value, Tensor):
        return [value]
    # Every operation that is watched comes by here: the abstract class, which is slow to ask, comes last.
    if isinstance(value, (tuple, list)):
        return [tensor for item in value for tensor in tensors_in(item)]
    if isinstance(value, (dict, Mapping)):
        return [tensor for item in value.values() for tensor in tensors_in(item)]
    return []


unseen = torch._C.DisableTorchFunction  # noqa: SLF001 -- documented with `__torch_function__`
"""Context of what no mode of PyTorch has to see: it is no work of the model, and being looked at takes time."""


def once_each(change: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """The same change, made once of each tensor: what is one tensor stays one.

    >>> copied, tensor = once_each(torch.clone), torch.ones(1)
    >>> copied(tensor) is copied(tensor), copied(tensor) is tensor
    (True, False)
    """
    # With the tensor itself, since the identity of one that is gone may be another's.
    made: dict[int, tuple[Tensor, Tensor]] = {}

    def changed(tensor: Tensor) -> Tensor:
        if id(tensor) not in made:
            made[id(tensor)] = tensor, change(tensor)
        return made[id(tensor)][1]

    return changed


def sole_tensor(output: Any) -> Tensor | None:
    """A tensor, or the only one that a module returned in a tuple or list; None where there are several, or none.

    >>> sole_tensor((torch.zeros(2, 3), (8, 7, 7), None)).shape
    torch.Size([2, 3])
    """
    if isinstance(output, Tensor):
        return output
    tensors = tensors_in(output)
    return tensors[0] if len(tensors) == 1 and any(item is tensors[0] for item in output) else None


def with_tensor(output: Any, tensor: Tensor) -> Any:
    """What a module returned, with another tensor in the place of its sole one."""
    if isinstance(output, Tensor):
        return tensor
    items = [tensor if isinstance(item, Tensor) else item for item in output]
    return output._make(items) if hasattr(output, "_make") else type(output)(items)


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
    def of(
        cls, args: tuple[Any, ...], kwargs: Mapping[str, Any], *, copied: bool = False, attached: bool = False
    ) -> LayerCall:
        """Keep a call for the backward pass.

        Args:
            args: Positional arguments.
            kwargs: Keyword arguments.
            copied: Copy tensors, which may be written over.
            attached: Leave them in the graph that they belong to.
        """
        kept = tuple(_kept(value, copied=copied, attached=attached) for value in args)
        named = {key: _kept(value, copied=copied, attached=attached) for key, value in kwargs.items()}
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


def _kept(value: Any, *, copied: bool, attached: bool) -> Any:
    if isinstance(value, Tensor):
        tensor = value if attached else value.detach()
        return tensor.clone() if copied else tensor
    if type(value) in (tuple, list):
        return type(value)(_kept(item, copied=copied, attached=attached) for item in value)
    return value
