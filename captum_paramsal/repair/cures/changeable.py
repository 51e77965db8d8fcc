"""Which numbers of a model a cure may change: those of some filters, or others to compare these with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import sqrt

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from captum_paramsal.filters import Filter
from captum_paramsal.profiles import FilterParameters

KINDS = ("filters", "whole network", "last layer", "norms")
"""What a cure may change."""

ANY = "any"
"""That of ``KINDS`` which does best on the images that choose."""

_WHOLE_NETWORKS_PACE = 0.1
"""So many numbers go far in one step: with the usual one no state of a whole network broke few images."""

_FINE = 4
"""Bytes of a number that small steps are not lost in."""

_NORMS = (nn.modules.batchnorm._BatchNorm, nn.LayerNorm, nn.GroupNorm, nn.modules.instancenorm._InstanceNorm)  # noqa: SLF001 -- the only names of these families


@dataclass(frozen=True, eq=False)
class Changeable:
    """Entries of a model's parameters; none of one that requires no gradient, which its owner means to stay.

    Attributes:
        name: What they are called.
        entries: Which entries of a parameter, a mask of its shape, by the parameter's name.
        pace: Length of a step of these numbers, as a share of the usual one.
        refused: Why there are no entries, where it is not that the model has no such numbers.
    """

    name: str
    entries: Mapping[str, Tensor]
    pace: float = 1.0
    refused: str = ""

    @classmethod
    def of_filters(cls, parameters: FilterParameters, filters: Sequence[Filter], name: str = "filters") -> Changeable:
        """What belongs to some filters.

        Args:
            parameters: Of the model's filters.
            filters: Which filters.
            name: What they are called.

        Raises:
            InterventionError: The model has no such filter, one is named twice, or its numbers are computed.
        """
        names = {id(parameter): name for name, parameter in parameters.model.named_parameters()}
        entries: dict[str, Tensor] = {}
        for slices in parameters.every(filters):
            for part in slices:
                whole = part.parameter
                if not whole.requires_grad:
                    continue
                mask = entries.setdefault(names[id(whole)], torch.zeros_like(whole, dtype=torch.bool))
                mask[part.place] = True
        return cls(name, entries, refused="" if entries or not filters else _frozen(", ".join(map(str, filters))))

    @classmethod
    def whole_network(cls, model: nn.Module) -> Changeable:
        """All parameters, in short steps."""
        return cls._of_all("whole network", model.named_parameters(), _WHOLE_NETWORKS_PACE)

    @classmethod
    def last_layer(cls, model: nn.Module, classes: int) -> Changeable:
        """The last registered layer whose weight has a row for each class; nothing where there is none."""
        last = [
            (name, module)
            for name, module in model.named_modules()
            if isinstance(getattr(module, "weight", None), nn.Parameter)
            and module.weight.ndim > 1
            and len(module.weight) == classes
        ][-1:]
        return cls._of_all("last layer", _parameters_of(last))

    @classmethod
    def norms(cls, model: nn.Module) -> Changeable:
        """Factors and offsets of all normalisations; nothing where there are none."""
        modules = ((name, module) for name, module in model.named_modules() if isinstance(module, _NORMS))
        return cls._of_all("norms", _parameters_of(modules))

    @classmethod
    def _of_all(cls, name: str, named: Iterable[tuple[str, Tensor]], pace: float = 1.0) -> Changeable:
        """All numbers of some parameters."""
        parameters = dict(named)
        entries = {
            key: torch.ones_like(value, dtype=torch.bool) for key, value in parameters.items() if value.requires_grad
        }
        return cls(name, entries, pace, _frozen(f"the {name}") if parameters and not entries else "")

    @property
    def count(self) -> int:
        """Numbers that may change."""
        return sum(int(mask.sum()) for mask in self.entries.values())


class EditedNumbers:
    """Numbers of a model while they are changed in place.

    Args:
        model: A copy that may be changed.
        changeable: Which numbers.

    Attributes:
        parameters: The parameters that they belong to, by name.
    """

    def __init__(self, model: nn.Module, changeable: Changeable) -> None:
        self._entries = changeable.entries
        self._pace = changeable.pace
        self.parameters = {name: value for name, value in model.named_parameters() if name in changeable.entries}
        self._before = self.values()
        # Steps of half precision would be lost where they are small beside a number, and Adam's epsilon is 0 there.
        self._finer = {
            name: value.detach().float() for name, value in self.parameters.items() if value.dtype.itemsize < _FINE
        }

    @contextmanager
    def restored(self) -> Iterator[None]:
        """Every number is as before when the context ends."""
        try:
            yield
        finally:
            self.write(self._before)

    def values(self) -> dict[str, Tensor]:
        """Copies of the parameters as they are."""
        return {name: value.detach().clone() for name, value in self.parameters.items()}

    def write(self, values: Mapping[str, Tensor]) -> None:
        """Give the parameters other values."""
        write(self.parameters, values)

    def part_of(self, values: Mapping[str, Tensor], share: float) -> dict[str, Tensor]:
        """Values that are a share of the way from those before to others."""
        return {name: self._before[name] + share * (value - self._before[name]) for name, value in values.items()}

    def size(self, values: Mapping[str, Tensor]) -> float:
        """Norm of a change as a share of the norm of all numbers that may change; infinite where these are zeros."""
        changed = norm_of(values[name] - old for name, old in self._before.items())
        whole = norm_of(old[self._entries[name]] for name, old in self._before.items())
        return changed / whole if whole else float("inf")

    def groups(self, learning_rate: float) -> list[dict[str, object]]:
        """For an optimizer: steps in proportion to a tensor's own size, or to the others' where it is all zeros."""
        sizes = {name: value.double().square().mean().sqrt().item() for name, value in self._before.items()}
        usual = sum(sizes.values()) / len(sizes) or 1.0
        return [
            {"params": [self._finer.get(name, parameter)], "lr": learning_rate * self._pace * (sizes[name] or usual)}
            for name, parameter in self.parameters.items()
        ]

    def step(self, optimizer: Optimizer, loss: Tensor) -> None:
        """One step of an optimizer, of these numbers alone."""
        optimizer.zero_grad()
        torch.autograd.backward(loss, inputs=list(self.parameters.values()))
        for name, parameter in self.parameters.items():
            if parameter.grad is None:
                continue
            parameter.grad.mul_(self._entries[name])
            if name in self._finer:
                self._finer[name].grad, parameter.grad = parameter.grad.float(), None
        optimizer.step()
        write(self.parameters, self._finer)


def write(parameters: Mapping[str, Tensor], values: Mapping[str, Tensor]) -> None:
    """Give parameters other values, by name, in place."""
    with torch.no_grad():
        for name, value in values.items():
            parameters[name].copy_(value)


def norm_of(parts: Iterable[Tensor]) -> float:
    """Euclidean norm of all numbers of some tensors."""
    return sqrt(sum(part.double().square().sum().item() for part in parts))


def _parameters_of(modules: Iterable[tuple[str, nn.Module]]) -> Iterator[tuple[str, Tensor]]:
    return (item for name, module in modules for item in module.named_parameters(name, recurse=False))


def _frozen(what: str) -> str:
    return f"All numbers of {what} are frozen: they require no gradient."
