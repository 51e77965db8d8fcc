"""What every filter usually does: the statistics of saliency profiles over a reference set."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence, Sized
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn
from tqdm import tqdm

from captum_paramsal.batch import Inputs
from captum_paramsal.errors import InputError, ParamsalError, ReferenceFileError, ReferenceMismatchError
from captum_paramsal.filters import FilterIndex
from captum_paramsal.fingerprint import Fingerprint
from captum_paramsal.functional import Loss, Target, cross_entropy, fused_products
from captum_paramsal.hooks import unwrap
from captum_paramsal.layers import LayerSelection
from captum_paramsal.profile import FilterProfile
from captum_paramsal.stats import Moments

__all__ = ["Reference", "loss_name"]

_FORMAT = "captum_paramsal.reference"
_VERSION = 1
_LONG_PASS = 4096
"""Images from which on the seconds of compiling the fused kernels are won back."""


@dataclass(frozen=True)
class Reference:
    """Mean and standard deviation of every filter's saliency over a reference set.

    Made by :meth:`fit`; a value that is merged, saved and loaded, and never changes.

    Attributes:
        filters: The filters, in the order of the statistics.
        moments: Count, mean and squared deviations of each filter's mean absolute gradient.
        fingerprint: Digests of the weights it was taken on.
        loss_name: The loss whose gradient was taken.
    """

    filters: FilterIndex
    moments: Moments
    fingerprint: Fingerprint
    loss_name: str

    @classmethod
    def fit(
        cls,
        model: nn.Module,
        batches: Iterable[Any],
        *,
        layers: LayerSelection | None = None,
        loss: Loss = cross_entropy,
        internal_batch_size: int | None = None,
        total: int | None = None,
        show_progress: bool = True,
    ) -> Reference:
        """Take the statistics of a reference set in one pass.

        Args:
            model: A classifier, left as it was.
            batches: Batches (inputs, target), (inputs, target, additional_forward_args), or inputs alone, whose target
                is then the model's prediction; a ``DataLoader``, for instance.
            layers: Layers to score, see :func:`captum_paramsal.layers.select_layers`.
            loss: Loss per example.
            internal_batch_size: Images in one forward and backward pass; bounds memory, not the result.
            total: Images in all, where the batches do not tell; for the progress bar and the choice of kernels.
            show_progress: Show a progress bar.

        Raises:
            InputError: Fewer than two images, or images that cannot be scored (the message names the batch).
            TargetError: A batch's target does not name one class per image.
            LayerError: See :func:`captum_paramsal.layers.select_layers`.
        """
        profile = FilterProfile(model, layers, loss)
        fingerprint = Fingerprint.of(profile.model)
        expected = _total(batches) if total is None else total
        moments: Moments | None = None
        with (
            fused_products(enabled=(expected or 0) >= _LONG_PASS),
            tqdm(total=expected, desc="reference", unit="img", disable=not show_progress) as bar,
        ):
            for number, batch in enumerate(batches):
                rows = Moments.of(_scored(profile, batch, internal_batch_size, number))
                moments = rows if moments is None else moments.merge(rows)
                bar.update(rows.count)
        if moments is None or moments.count < 2:
            message = f"Expected a reference set of at least two images, got {0 if moments is None else moments.count}."
            raise InputError(message)
        return cls(profile.filters, moments, fingerprint, loss_name(loss))

    @property
    def count(self) -> int:
        """Images in the reference set."""
        return self.moments.count

    @property
    def mean(self) -> Tensor:
        """Mean of each filter, ``(F,)`` float64."""
        return self.moments.mean

    @property
    def std(self) -> Tensor:
        """Sample standard deviation of each filter, ``(F,)`` float64."""
        return self.moments.std

    @property
    def dead(self) -> Tensor:
        """Filters that never varied over the reference set, ``(F,)`` bool."""
        return self.moments.deviations <= 0

    def merge(self, *others: Reference) -> Reference:
        """The reference of several disjoint sets together; the order does not matter.

        Raises:
            ReferenceMismatchError: Another reference was taken on other weights, layers or another loss.
        """
        merged = self
        for other in others:
            merged._require_same(other.filters, other.fingerprint, other.loss_name, "the other reference")
            merged = replace(merged, moments=merged.moments.merge(other.moments))
        return merged

    def check(self, model: nn.Module) -> None:
        """Make sure that this reference was taken on these very weights.

        Raises:
            ReferenceMismatchError: It was not; the message says what differs.
        """
        self._require_same(self.filters, Fingerprint.of(unwrap(model)), self.loss_name, "the model")

    def transfer(self, model: nn.Module) -> Reference:
        """This reference for a model with the same layers and other weights, on purpose.

        For a model that was damaged, randomised or treated after the reference was taken.

        Raises:
            ReferenceMismatchError: The model does not have the same layers.
        """
        profile = FilterProfile(model, self.filters)
        if profile.filters != self.filters:
            message = (
                f"Expected a model with the filters of this reference, but {self.filters.difference(profile.filters)}."
            )
            raise ReferenceMismatchError(message)
        return replace(self, fingerprint=Fingerprint.of(profile.model))

    def to_table(self) -> list[dict[str, Any]]:
        """One row per filter: layer, index, mean, std, dead."""
        columns = zip(self.filters, self.mean.tolist(), self.std.tolist(), self.dead.tolist(), strict=True)
        return [
            {"layer": one.layer, "index": one.index, "mean": mean, "std": std, "dead": dead}
            for one, mean, std, dead in columns
        ]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a safetensors file; an existing one is replaced only when the new one is complete.

        Raises:
            ReferenceFileError: The file cannot be written.
        """
        target = Path(path)
        partial = target.with_name(f"{target.name}.{os.getpid()}.partial")
        tensors = {"mean": self.moments.mean, "deviations": self.moments.deviations}
        try:
            partial.write_bytes(save({name: value.contiguous() for name, value in tensors.items()}, self._metadata()))
            partial.replace(target)
        except (OSError, SafetensorError) as error:
            partial.unlink(missing_ok=True)
            message = f"Expected a place to write the reference to, but {str(target)!r} cannot be written: {error}."
            raise ReferenceFileError(message) from error

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Reference:
        """Read a reference file, whole or not at all.

        Raises:
            ReferenceFileError: No such file, damaged, truncated, or not a reference of a version that is known.
        """
        try:
            with safe_open(path, framework="pt") as file:
                metadata = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 -- not a dict
        except (OSError, SafetensorError) as error:
            message = f"Expected a reference file, but {str(path)!r} cannot be read: {error}."
            raise ReferenceFileError(message) from error
        try:
            return cls._of(metadata, tensors)
        except (KeyError, TypeError, ValueError) as error:
            message = f"Expected a {_FORMAT} file of version {_VERSION}, got {str(path)!r} with {error}."
            raise ReferenceFileError(message) from error

    def _metadata(self) -> dict[str, str]:
        content = {
            "format": _FORMAT,
            "version": _VERSION,
            "count": self.count,
            "layers": dict(self.filters.counts),
            "parts": {name: list(parts) for name, parts in self.filters.parts.items()},
            "digests": dict(self.fingerprint.digests),
            "loss": self.loss_name,
        }
        text = json.dumps(content)
        return {"reference": text, "checksum": self._checksum(text)}

    def _checksum(self, text: str) -> str:
        digest = blake2b(text.encode(), digest_size=16)
        for values in (self.moments.mean, self.moments.deviations):
            digest.update(values.contiguous().numpy().data)
        return digest.hexdigest()

    @classmethod
    def _of(cls, metadata: dict[str, str], tensors: dict[str, Tensor]) -> Reference:
        content = json.loads(metadata["reference"])
        if (content["format"], content["version"]) != (_FORMAT, _VERSION):
            message = f"format {content['format']!r} version {content['version']!r}"
            raise ParamsalError(message)
        filters = FilterIndex(content["layers"], content["parts"])
        moments = Moments(content["count"], tensors["mean"], tensors["deviations"])
        reference = cls(filters, moments, Fingerprint(content["digests"]), content["loss"])
        if moments.mean.shape != (len(filters),) or metadata["checksum"] != reference._checksum(metadata["reference"]):
            message = "statistics that do not match their checksum: the file is damaged"
            raise ParamsalError(message)
        return reference

    def _require_same(self, filters: FilterIndex, fingerprint: Fingerprint, loss: str, what: str) -> None:
        if filters != self.filters:
            message = f"Expected {what} to have the filters of this reference, but {self.filters.difference(filters)}."
            raise ReferenceMismatchError(message)
        if loss != self.loss_name:
            message = f"Expected {what} to use the loss {self.loss_name!r} of this reference, got {loss!r}."
            raise ReferenceMismatchError(message)
        if difference := self.fingerprint.difference(fingerprint):
            message = (
                f"Expected {what} to have the weights this reference was taken on, but {difference}. Fit a reference "
                "for these weights, or use `transfer` to keep this one on purpose."
            )
            raise ReferenceMismatchError(message)


def loss_name(loss: Loss) -> str:
    """Name that a loss is recognised by."""
    return str(getattr(loss, "__qualname__", type(loss).__qualname__))


def _scored(profile: FilterProfile, batch: Any, internal_batch_size: int | None, number: int) -> Tensor:
    inputs, target, extra = _unpacked(batch)
    try:
        return profile(inputs, target, extra, internal_batch_size)
    except ParamsalError as error:
        error.args = (f"Batch {number} of the reference set: {error}",)
        raise


def _unpacked(batch: Any) -> tuple[Inputs, Target, Any]:
    if not isinstance(batch, (tuple, list)):
        return batch, None, None
    if not 1 <= len(batch) <= 3:
        message = f"Expected batches (inputs, target, additional_forward_args), got {len(batch)} items."
        raise InputError(message)
    inputs, target, extra = (*batch, None, None)[:3]
    return tuple(inputs) if isinstance(inputs, list) else inputs, target, extra


def _total(batches: Iterable[Any]) -> int | None:
    """Images in a DataLoader or a list of batches; None for a stream."""
    if isinstance(batches, torch.utils.data.DataLoader):
        return len(batches.sampler) if isinstance(batches.sampler, Sized) else None
    if isinstance(batches, Sequence):
        inputs = [_unpacked(batch)[0] for batch in batches]
        return sum(len(item[0] if isinstance(item, tuple) else item) for item in inputs)
    return None
