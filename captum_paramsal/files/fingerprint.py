"""Which weights something was computed on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b

import torch
from torch import Tensor, nn

_COUNTERS = ("num_batches_tracked",)
"""Buffers that no output in evaluation mode depends on."""


@dataclass(frozen=True)
class Fingerprint:
    """A digest of each of a model's parameters and buffers.

    Attributes:
        digests: 16 hexadecimal digits of BLAKE2b over type, shape and bytes, by the tensor's name.
    """

    digests: Mapping[str, str]

    @classmethod
    def of(cls, model: nn.Module) -> Fingerprint:
        """The fingerprint of a model as it is now; the device does not matter.

        >>> Fingerprint.of(nn.Linear(2, 2)) == Fingerprint.of(nn.Linear(2, 2))
        False
        """
        tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
        counted = {name: value for name, value in tensors.items() if not name.endswith(_COUNTERS)}
        return cls({name: _digest(value) for name, value in counted.items()})

    @property
    def short(self) -> str:
        """One digest for all of them, 16 hexadecimal digits."""
        lines = "\n".join(f"{name} {digest}" for name, digest in sorted(self.digests.items()))
        return blake2b(lines.encode(), digest_size=8).hexdigest()

    def difference(self, other: Fingerprint) -> str:
        """What differs, in words; empty where nothing does."""
        missing = sorted(self.digests.keys() - other.digests.keys())
        added = sorted(other.digests.keys() - self.digests.keys())
        common = self.digests.keys() & other.digests.keys()
        changed = [name for name in self.digests if name in common and self.digests[name] != other.digests[name]]
        differences = [
            f"{len(names)} of {len(self.digests)} tensors {what} ({_shown(names)})"
            for names, what in ((missing, "are missing"), (changed, "differ"))
            if names
        ]
        return "; ".join(differences + ([f"{len(added)} tensors are new ({_shown(added)})"] if added else []))


def _digest(tensor: Tensor) -> str:
    plain = tensor.detach().cpu().contiguous()
    digest = blake2b(f"{plain.dtype} {tuple(plain.shape)}".encode(), digest_size=8)
    if plain.numel():
        digest.update(plain.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _shown(names: list[str]) -> str:
    return ", ".join(map(repr, names[:3])) + (", ..." if len(names) > 3 else "")
