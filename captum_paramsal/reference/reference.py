"""What every filter usually does: the statistics of saliency profiles over a reference set."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn

from captum_paramsal.errors import InputError, ReferenceMismatchError
from captum_paramsal.files import Fingerprint
from captum_paramsal.files.file_kind import checksum
from captum_paramsal.files.kinds import REFERENCE
from captum_paramsal.filters import Filter, FilterIndex
from captum_paramsal.functional import Loss, cross_entropy, loss_name
from captum_paramsal.functional.profile import varies
from captum_paramsal.hooks import Output, unwrap
from captum_paramsal.profiles import FilterProfile, LayerSelection
from captum_paramsal.reference.exemplar_table import ExemplarTable
from captum_paramsal.reference.exemplars import Exemplars
from captum_paramsal.reference.one_pass import ReferencePass
from captum_paramsal.reference.stages import StageStatistics
from captum_paramsal.stats import Moments, UpperTail
from captum_paramsal.summary import Summarized


@dataclass(frozen=True, repr=False)
class Reference(Summarized):
    """Mean and standard deviation of every filter's saliency over a reference set.

    Made by :meth:`fit`; a value that is merged, saved and loaded, and never changes.

    Attributes:
        filters: The filters, in the order of the statistics.
        moments: Count, mean and squared deviations of each filter's mean absolute gradient.
        fingerprint: Digests of the weights it was taken on.
        loss_name: The loss whose gradient was taken.
        tail: The largest values of each filter; None where they were not kept.
        exemplar_table: The images in which each filter is most active; None where they were not kept. See
            :meth:`exemplars`.
    """

    filters: FilterIndex
    moments: Moments
    fingerprint: Fingerprint
    loss_name: str
    tail: UpperTail | None = None
    exemplar_table: ExemplarTable | None = None

    @classmethod
    def fit(
        cls,
        model: nn.Module,
        batches: Iterable[Any],
        *,
        layers: LayerSelection | None = None,
        loss: Loss = cross_entropy,
        bias: bool = False,
        tail: float | None = 0.10,
        exemplars: int | None = None,
        internal_batch_size: int | None = None,
        total: int | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
        show_progress: bool = True,
        output: Output | None = None,
    ) -> Reference:
        """Take the statistics of a reference set in one pass.

        In an initialised ``torch.distributed`` group every process calls this with the same model and the same
        batches. Each takes every ``size``-th batch, none is repeated, and all get the reference of the whole. Of a
        ``DataLoader`` over a map-style data set, or a sequence, a process reads only its own share.

        Args:
            model: A classifier, left as it was.
            batches: Batches (inputs, target), (inputs, target, additional_forward_args), or inputs alone, whose target
                is then the model's prediction; a ``DataLoader``, for instance.
            layers: Layers to score, see :func:`captum_paramsal.profiles.layers.select_layers`.
            loss: Loss per example.
            output: What makes class scores ``(N, C)`` of what the model returns, where it returns something else than
                these or ``logits``.
            bias: Take each filter's entry of the layer's bias as one of its weights.
            tail: Share of the images whose largest values are kept of every filter, in (0, 0.5]; takes
                ``tail · images · filters`` numbers of memory. None keeps mean and standard deviation alone.
            exemplars: Images that are kept of each filter: those in which it is most active, with the place in each,
                see :meth:`exemplars`; 9, for instance. None keeps none.
            internal_batch_size: Images in one forward and backward pass; bounds memory, not the result.
            total: Images in all, where the batches do not tell. For a part of a larger set that will be merged, images
                of the whole: the part then keeps enough of its largest values.
            checkpoint: File that the pass is written to now and then, and resumes from if it is there: killed at any
                moment and started again with the same batches, it ends with the same bits. It stays when the pass is
                complete; delete it once the reference is saved. Processes of a group write one each.
            show_progress: Show a progress bar.

        Raises:
            InputError: Fewer than two images, images that cannot be scored (the message names the batch), a tail
                outside (0, 0.5], no ``total`` for a stream, or ``exemplars`` below 1.
            TargetError: A batch's target does not name one class per image.
            LayerError: See :func:`captum_paramsal.profiles.layers.select_layers`.
            CheckpointError: A checkpoint that is damaged, cannot be written, or belongs to another run.
            GroupError: Processes that do not work on the same thing, or another process that failed or is gone.

        Warns:
            IncompleteTailWarning: More images than ``total``, so that too few of the largest values were kept.
        """
        profile = FilterProfile(model, layers, loss, output=output, bias=bias)
        fingerprint = Fingerprint.of(profile.model)
        run = {"weights": fingerprint.short, "filters": dict(profile.candidates.counts), "loss": loss_name(loss)}
        one_pass = ReferencePass(profile, run, tail, exemplars, total, internal_batch_size, checkpoint, show_progress)
        moments, upper, table = one_pass.over(batches)
        return cls(profile.filters, moments, fingerprint, loss_name(loss), upper, table)

    @property
    def count(self) -> int:
        """Images in the reference set."""
        return self.moments.count

    @property
    def digest(self) -> str:
        """32 hexadecimal digits of all that z-scores depend on."""
        values = {"mean": self.mean, "deviations": self.moments.deviations}
        return checksum(f"{self.count} {self.fingerprint.short} {dict(self.filters.counts)}", values)

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
        return ~varies(self.moments.mean, self.moments.std)

    def merge(self, *others: Reference) -> Reference:
        """The reference of several disjoint sets together; the order does not matter.

        Upper tails are exact where the parts were fitted with the ``total`` of the whole.

        Raises:
            ReferenceMismatchError: Another reference was taken on other weights, layers, another loss, another tail or
                other exemplars, or both hold an image of the same number.

        Warns:
            IncompleteTailWarning: Parts kept too few of their largest values, and thresholds had to be raised.
        """
        merged = self
        for other in others:
            merged._require_same(other.filters, other.fingerprint, other.loss_name, "the other reference")
            ours, theirs = (
                None if reference.tail is None else reference.tail.fraction for reference in (merged, other)
            )
            if ours != theirs:
                message = f"Expected the other reference to keep the same upper tail ({ours}), got one with {theirs}."
                raise ReferenceMismatchError(message)
            tail = None if merged.tail is None or other.tail is None else merged.tail.merge(other.tail)
            table = merged._merged_exemplars(other)
            merged = replace(merged, moments=merged.moments.merge(other.moments), tail=tail, exemplar_table=table)
        return merged

    def check(self, model: nn.Module) -> None:
        """Make sure that this reference was taken on these very weights.

        Raises:
            ReferenceMismatchError: It was not; the message says what differs.
        """
        self._require_same(self.filters, Fingerprint.of(unwrap(model)), self.loss_name, "the model")

    def check_profile(self, profile: FilterProfile) -> None:
        """Make sure that a profile has the filters, the loss and the weights of this reference.

        Raises:
            ReferenceMismatchError: It has not; the message says what differs.
        """
        if self.filters != profile.filters:
            message = (
                f"Expected `layers` with the filters of the reference, but {self.filters.difference(profile.filters)}."
            )
            raise ReferenceMismatchError(message)
        if self.loss_name != loss_name(profile.loss):
            message = f"Expected the loss of the reference, {self.loss_name!r}, got {loss_name(profile.loss)!r}."
            raise ReferenceMismatchError(message)
        self.check(profile.model)

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

    def by_stage(self, stages: Mapping[str, str | Sequence[str]] | None = None) -> StageStatistics:
        """Mean and standard deviation of the gradients by stage of the network, what the depth of top filters rests on.

        Args:
            stages: Names of layers, or glob patterns, of each stage: ``{"first": "conv1", "last": "layer4.*"}``. Layers
                of no stage are left out. By default every layer is a stage of its own.

        Raises:
            LayerError: A pattern matches no layer.
            InputError: There is no stage.

        References:
            Wang and Sato, *Understanding Parameter Saliency via Extreme Value Theory*, arXiv 2310.17951, on the bias
            of z-scores against depth.

        >>> import torch
        >>> index = FilterIndex({"stem": 1, "block.conv1": 2, "block.conv2": 1})
        >>> moments = Moments.of(torch.tensor([[1.0, 0.1, 0.0, 0.3], [3.0, 0.3, 0.0, 0.3]]))
        >>> reference = Reference(index, moments, Fingerprint({}), "cross_entropy")
        >>> [row["mean"] for row in reference.by_stage({"stem": "stem", "block": "block.*"}).to_table()]
        [2.0, 0.2...]
        """
        index = self.filters
        if stages is None:
            # By slices: a layer's name may look like a pattern.
            every = range(len(index))
            return StageStatistics.of(self.moments, {name: every[index.slice(name)] for name in index.layers})
        if not stages:
            message = "Expected at least one stage, got none."
            raise InputError(message)
        patterns = {name: [given] if isinstance(given, str) else given for name, given in stages.items()}
        return StageStatistics.of(self.moments, {name: index.columns(*given) for name, given in patterns.items()})

    def exemplars(self, item: Filter) -> Exemplars:
        """The images in which a filter is most active, with the place in each.

        Args:
            item: The filter, such as ``reference.filters[3]``.

        Raises:
            InputError: They were not kept, or it could not be seen what the filter returns.
            LayerError: The filter is not one of this reference.
        """
        if self.exemplar_table is None:
            message = (
                "Expected a reference with exemplars, got one without. Fit it with `Reference.fit(..., exemplars=9)`."
            )
            raise InputError(message)
        return Exemplars.of(self.exemplar_table, item, self.filters.index(item))

    def to_table(self) -> list[dict[str, Any]]:
        """One row per filter: layer, index, mean, std, dead, and with a tail threshold and exceedances."""
        columns: dict[str, list[Any]] = {
            "layer": [item.layer for item in self.filters],
            "index": [item.index for item in self.filters],
            "mean": self.mean.tolist(),
            "std": self.std.tolist(),
            "dead": self.dead.tolist(),
        }
        if self.tail is not None:
            columns |= {"threshold": self.tail.threshold.tolist(), "exceedances": self.tail.exceedances.tolist()}
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a safetensors file; an existing one is replaced only when the new one is complete.

        Raises:
            ReferenceFileError: The file cannot be written.
        """
        filters = self.filters.to_dict()
        content = {
            "count": self.count,
            "layers": filters.pop("filters"),
            **filters,
            "digests": dict(self.fingerprint.digests),
            "loss": self.loss_name,
            "tail": None if self.tail is None else {"fraction": self.tail.fraction, "total": self.tail.total},
            "exemplars": None if self.exemplar_table is None else self.exemplar_table.to_dict(),
        }
        REFERENCE.save(path, self._tensors(), content)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Reference:
        """Read a reference file, whole or not at all.

        Raises:
            ReferenceFileError: No such file, damaged, truncated, or not a reference of a version that is known.
        """
        return REFERENCE.load(path, cls._of)

    def _tensors(self) -> dict[str, Tensor]:
        tensors = {"mean": self.moments.mean, "deviations": self.moments.deviations}
        if self.tail is not None:
            tensors |= {"tail": self.tail.values, "tail_floor": self.tail.floor}
        return tensors if self.exemplar_table is None else tensors | self.exemplar_table.to_tensors()

    @classmethod
    def _of(cls, tensors: dict[str, Tensor], content: dict[str, Any]) -> Reference:
        filters = FilterIndex.from_dict(content | {"filters": content["layers"]})
        moments = Moments(content["count"], tensors["mean"], tensors["deviations"])
        # Version 1 knew no tails.
        kept = content.get("tail")
        tail = None
        if kept is not None:
            tail = UpperTail(kept["fraction"], moments.count, kept["total"], tensors["tail"], tensors["tail_floor"])
        # Version 3 knew no exemplars.
        kept = content.get("exemplars")
        table = None if kept is None else ExemplarTable.of(tensors, kept)
        return cls(filters, moments, Fingerprint(content["digests"]), content["loss"], tail, table)

    def _merged_exemplars(self, other: Reference) -> ExemplarTable | None:
        ours, theirs = self.exemplar_table, other.exemplar_table
        if ours is not None and theirs is not None:
            return ours.merge(theirs)
        if ours is not theirs:
            one, two = ("none" if table is None else f"{table.k} of each filter" for table in (ours, theirs))
            message = f"Expected the other reference to keep the same exemplars ({one}), got one with {two}."
            raise ReferenceMismatchError(message)
        return None

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
