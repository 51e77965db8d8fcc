"""Several patches on one model, which come off in any order that leaves nothing half changed."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from captum_paramsal.errors import PatchError
from captum_paramsal.files import Fingerprint
from captum_paramsal.hooks import unwrap
from captum_paramsal.repair.treatment.patch import Patch


class PatchStack:
    """Patches on a model, put on one after the other.

    Args:
        model: The model without any of them, changed in place by what follows.

    Attributes:
        patches: Those that are on, the first put on first.

    >>> model, other = nn.Linear(2, 2), nn.Linear(2, 2)
    >>> stack = PatchStack(model)
    >>> stack.put_on(Patch.between(model, other))
    >>> torch.equal(model.weight, other.weight), len(stack.patches)
    (True, 1)
    >>> stack.take_off(stack.patches[0])
    >>> torch.equal(model.weight, other.weight)
    False
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._base = self._now = Fingerprint.of(unwrap(model))
        self.patches: tuple[Patch, ...] = ()

    def put_on(self, patch: Patch) -> None:
        """Put on a patch that was made for the model as it is, or for the model without any patch.

        Raises:
            PatchError: It is on already; or it was made for other weights, or for the bare model and changes numbers
                that another patch changes, too; nothing is changed.
        """
        self._require_untouched()
        if any(other is patch for other in self.patches):
            message = "Expected a patch that is not on, got one of those that are. Nothing was changed."
            raise PatchError(message)
        if not patch.base.difference(self._now):
            patch.apply(self._model)
        elif patch.base.difference(self._base):
            difference = patch.base.difference(self._now)
            message = f"Expected a patch for the model as it is or for its base, but {difference}. Nothing was changed."
            raise PatchError(message)
        else:
            for number, other in enumerate(self.patches):
                _require_apart(patch, other, f"patch {number}, which is on. Make it for the model as it is now")
            patch.exchange(self._model)
        self._changed((*self.patches, patch))

    def take_off(self, patch: Patch) -> None:
        """Take off one of the patches, whatever its place.

        Raises:
            PatchError: It is not on, or one that was put on later changes numbers that it changes, too; nothing is
                changed.
        """
        self._require_untouched()
        place = next((number for number, other in enumerate(self.patches) if other is patch), None)
        if place is None:
            message = f"Expected one of the {len(self.patches)} patches that are on, by the object that was put on."
            raise PatchError(message)
        for number, later in enumerate(self.patches[place + 1 :], start=place + 1):
            _require_apart(patch, later, f"patch {number}, put on later. Take that one off first")
        patch.exchange(self._model)
        self._changed((*self.patches[:place], *self.patches[place + 1 :]))

    def _require_untouched(self) -> None:
        difference = self._now.difference(Fingerprint.of(unwrap(self._model)))
        if difference:
            message = f"Expected the model as the stack left it, but {difference}. Nothing was changed."
            raise PatchError(message)

    def _changed(self, patches: tuple[Patch, ...]) -> None:
        self.patches = patches
        self._now = Fingerprint.of(unwrap(self._model))


def _require_apart(patch: Patch, other: Patch, named: str) -> None:
    for name in patch.bits.keys() & other.bits.keys():
        both = _numbers(patch.bits[name], patch, name) & _numbers(other.bits[name], other, name)
        if both.any():
            shared = f"{int(both.sum())} of {name!r} with {named}"
            message = f"Expected a patch that shares no number with others, but it shares {shared}."
            raise PatchError(message)


def _numbers(bits: Tensor, patch: Patch, name: str) -> Tensor:
    """Which numbers of a tensor a patch changes, flat."""
    size = getattr(torch, patch.changes[name].dtype).itemsize
    return bits.view(-1, size).any(dim=1)
