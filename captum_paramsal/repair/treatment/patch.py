"""The difference between two states of a model, which can be put on and taken off bit for bit."""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from hashlib import blake2b
from typing import Any

import torch
from torch import Tensor, nn

from captum_paramsal.errors import PatchError
from captum_paramsal.files import Fingerprint
from captum_paramsal.files.kinds import PATCH
from captum_paramsal.hooks import unwrap
from captum_paramsal.repair.treatment.weights import tensors_of
from captum_paramsal.summary import Summarized


@dataclass(frozen=True)
class Change:
    """What became of one tensor.

    Attributes:
        dtype: Its type.
        shape: Its shape.
        changed: How many of its numbers are others now.
        largest: Largest change of one of them, infinite or NaN where such numbers come in.
        before: Digest of its bytes in the base.
        after: Digest of its bytes in the treated model.
    """

    dtype: str
    shape: tuple[int, ...]
    changed: int
    largest: float
    before: str
    after: str


@dataclass(frozen=True, eq=False, repr=False)
class Patch(Summarized):
    """What turns one model into another with the same layers, and back.

    It holds the exclusive or of the bytes of every tensor that changed, so that putting it on and taking it off are the
    same operation and restore every bit.

    Attributes:
        base: Fingerprint of the model it is put on.
        treated: Fingerprint of the model with the patch.
        changes: What changed, by the tensor's name.
        bits: Exclusive or of the bytes, uint8, by the tensor's name.
        about: What it was made on and for, as JSON has it.
    """

    base: Fingerprint
    treated: Fingerprint
    changes: Mapping[str, Change]
    bits: Mapping[str, Tensor]
    about: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def between(cls, original: nn.Module, treated: nn.Module, about: Mapping[str, Any] | None = None) -> Patch:
        """The patch that makes the treated model out of the original.

        Args:
            original: The model that it is put on.
            treated: What that becomes.
            about: What it was made on and for, as JSON has it.

        Raises:
            PatchError: The two models have different tensors.

        >>> original, treated = nn.Linear(2, 1), nn.Linear(2, 1)
        >>> patch = Patch.between(original, treated)
        >>> patch.apply(original)
        >>> torch.equal(original.weight, treated.weight)
        True
        """
        old, new = tensors_of(unwrap(original)), tensors_of(unwrap(treated))
        if different := [name for name in {**old, **new} if _form(old.get(name)) != _form(new.get(name))]:
            name = different[0]
            message = (
                f"Expected two models with the same tensors, but {len(different)} differ: {name!r} is "
                f"{_form(old.get(name))} in the original, {_form(new.get(name))} in the treated model."
            )
            raise PatchError(message)
        bits = {name: _bytes(old[name]) ^ _bytes(new[name]) for name in old}
        bits = {name: difference for name, difference in bits.items() if difference.any()}
        changes = {name: _change(old[name], new[name]) for name in bits}
        before, after = Fingerprint.of(unwrap(original)), Fingerprint.of(unwrap(treated))
        return cls(before, after, changes, bits, dict(about or {}))

    def apply(self, model: nn.Module) -> None:
        """Turn the base into the treated model, in place.

        Raises:
            PatchError: The model is not the base; nothing is changed.
        """
        if self.bits and not self.treated.difference(Fingerprint.of(unwrap(model))):
            message = "Expected the model that the patch was made for, got one that has it already."
            raise PatchError(message)
        self._put_on(model, self.base, {name: change.before for name, change in self.changes.items()})

    def revert(self, model: nn.Module) -> None:
        """Turn the treated model back into the base, in place.

        Raises:
            PatchError: The model is not the treated one; nothing is changed.
        """
        if self.bits and not self.base.difference(Fingerprint.of(unwrap(model))):
            message = "Expected a model with the patch, got the one that it was made for, without it."
            raise PatchError(message)
        self._put_on(model, self.treated, {name: change.after for name, change in self.changes.items()})

    def state_dict(self, model: nn.Module) -> dict[str, Tensor]:
        """The state dict that the base has with the patch; the base stays as it is.

        Raises:
            PatchError: The model is not the base.
        """
        copied = copy.deepcopy(unwrap(model))
        self.apply(copied)
        return copied.state_dict()

    def exchange(self, model: nn.Module) -> None:
        """Turn every number that it changes into the other of its two values, in place, without a check.

        For those that know which of them the model has, see :class:`PatchStack`.
        """
        tensors = tensors_of(unwrap(model))
        # All are made before the first is written: two names may stand for one storage.
        patched = {name: _patched(tensors[name], bits) for name, bits in self.bits.items()}
        with torch.no_grad():
            for name, values in patched.items():
                tensors[name].copy_(values)

    def to_table(self) -> list[dict[str, Any]]:
        """One row per changed tensor: name, shape, type, numbers, how many changed and the largest change."""
        return [
            {
                "tensor": name,
                "shape": change.shape,
                "dtype": change.dtype,
                "changed": change.changed,
                "largest change": change.largest,
            }
            for name, change in self.changes.items()
        ]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a safetensors file; an existing one is replaced only when the new one is complete.

        Raises:
            PatchError: The file cannot be written.
        """
        content = {
            "base": dict(self.base.digests),
            "treated": dict(self.treated.digests),
            "changes": {name: asdict(change) for name, change in self.changes.items()},
        }
        PATCH.save(path, self.bits, content | ({"about": dict(self.about)} if self.about else {}))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Patch:
        """Read a patch file, whole or not at all.

        Raises:
            PatchError: No such file, damaged, truncated, or not a patch of a version that is known.
        """
        return PATCH.load(path, cls._of)

    @classmethod
    def _of(cls, tensors: dict[str, Tensor], content: dict[str, Any]) -> Patch:
        changes = {
            name: Change(**{**change, "shape": tuple(change["shape"])}) for name, change in content["changes"].items()
        }
        # The file holds the tensors in an order of its own.
        bits = {name: tensors[name] for name in changes}
        about = content.get("about", {})
        return cls(Fingerprint(content["base"]), Fingerprint(content["treated"]), changes, bits, about)

    def _put_on(self, model: nn.Module, expected: Fingerprint, digests: Mapping[str, str]) -> None:
        tensors = tensors_of(unwrap(model))
        difference = expected.difference(Fingerprint.of(unwrap(model)))
        if not difference:
            # Counters of batches are in no fingerprint.
            others = [name for name, digest in digests.items() if _digest(tensors.get(name)) != digest]
            difference = f"{len(others)} tensors differ ({others[0]!r})" if others else ""
        if difference:
            message = f"Expected the weights that the patch was made for, but {difference}. Nothing was changed."
            raise PatchError(message)
        self.exchange(model)


def _form(tensor: Tensor | None) -> str:
    return "missing" if tensor is None else f"{tensor.dtype} {tuple(tensor.shape)}"


def _bytes(tensor: Tensor) -> Tensor:
    plain = tensor.detach().cpu().contiguous().reshape(-1)
    return plain.view(torch.uint8) if plain.numel() else plain.new_empty(0, dtype=torch.uint8)


def _digest(tensor: Tensor | None) -> str:
    return "" if tensor is None else blake2b(_bytes(tensor).numpy().data, digest_size=8).hexdigest()


def _patched(tensor: Tensor, bits: Tensor) -> Tensor:
    return (_bytes(tensor) ^ bits).view(tensor.dtype).reshape(tensor.shape)


def _change(old: Tensor, new: Tensor) -> Change:
    differs = (_bytes(old) ^ _bytes(new)).view(old.numel(), -1).any(dim=1)
    wide = torch.complex128 if old.is_complex() else torch.float64
    size = (new.detach().cpu().to(wide) - old.detach().cpu().to(wide)).abs().max().item()
    return Change(
        str(old.dtype).removeprefix("torch."), tuple(old.shape), int(differs.sum()), size, _digest(old), _digest(new)
    )
