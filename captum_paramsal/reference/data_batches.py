"""Batches of a data set: what is in one, how many images there are, and which of them a process takes."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass, replace
from hashlib import blake2b
from itertools import islice
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader, DistributedSampler, IterableDataset, RandomSampler
from typing_extensions import Self

from captum_paramsal.batch import Inputs, as_inputs
from captum_paramsal.errors import InputError
from captum_paramsal.functional import Target, tensor_of
from captum_paramsal.reference.process_group import ProcessGroup


@runtime_checkable
class Shareable(Protocol):
    """Batches that can be read in shares, so that a process reads only its own."""

    def share(self, rank: int, size: int) -> Iterable[Any]:
        """Every ``size``-th batch, beginning with number ``rank``; None for one of which nothing can be read."""
        ...


class NumberedBatch(tuple[Any, ...]):  # noqa: SLOT001 -- a tuple cannot have slots of its own
    """A batch whose images have numbers, and maybe names, of their own.

    Args:
        items: (inputs, target), (inputs, target, additional_forward_args), or inputs alone in a tuple.
        numbers: One for each image.
        names: One for each image, or none.

    >>> batch = NumberedBatch((torch.zeros(2, 3), torch.tensor([0, 1])), numbers=[7, 12], names=["a.jpg", "b.jpg"])
    >>> inputs, labels = batch
    """

    numbers: Sequence[int]
    names: Sequence[str]

    def __new__(cls, items: Iterable[Any], numbers: Sequence[int], names: Sequence[str] = ()) -> Self:
        """Make the tuple, with what it tells beside its items."""
        batch = super().__new__(cls, tuple(items))
        batch.numbers, batch.names = numbers, names
        return batch


@dataclass(frozen=True)
class LoaderItem:
    """Images, labels and further arguments of the model.

    Attributes:
        inputs: What the model takes.
        target: Labels; None for the model's prediction.
        extra: Further arguments.
        numbers: Numbers of the images, where the batch told them.
        names: Names of the images, likewise.
    """

    inputs: Inputs
    target: Target = None
    extra: Any = None
    numbers: Sequence[int] | None = None
    names: Sequence[str] = ()

    @classmethod
    def of(cls, batch: Any, model: object) -> LoaderItem:
        """From (inputs, target, additional_forward_args), shorter ones, or inputs alone.

        A mapping is inputs by name; its ``labels``, if it has some, are the target, as in Hugging Face's collators.
        Inputs are as :func:`captum_paramsal.batch.as_inputs` takes them; an item of a data set, one image with its
        label, is a batch of one.

        Raises:
            InputError: None or more than three items, inputs that are no tensors, or not a number for each image.
        """
        inputs, *others = _items_of(batch)
        item = cls(as_inputs(model, inputs, *others), *others)
        if not isinstance(batch, NumberedBatch):
            return item
        lengths = {len(item), len(batch.numbers), len(batch.names or batch.numbers)}
        if len(lengths) > 1:
            message = (
                f"Expected a number for each of {len(item)} images, and a name for each or for none, got "
                f"{len(batch.numbers)} numbers and {len(batch.names)} names."
            )
            raise InputError(message)
        return replace(item, numbers=batch.numbers, names=batch.names)

    @property
    def first(self) -> Any:
        """The first input, which has as many rows as all others."""
        several = tuple(self.inputs.values()) if isinstance(self.inputs, Mapping) else self.inputs
        return several[0] if isinstance(several, tuple) else several

    def __len__(self) -> int:
        return len(self.first)


def _items_of(batch: Any) -> tuple[Any, ...]:
    if isinstance(batch, Mapping) and "labels" in batch:
        return {name: value for name, value in batch.items() if name != "labels"}, batch["labels"]
    if not isinstance(batch, (tuple, list)):
        return (batch,)
    if not 1 <= len(batch) <= 3:
        message = f"Expected batches (inputs, target, additional_forward_args), got {len(batch)} items."
        raise InputError(message)
    inputs, *others = batch
    return tuple(inputs) if isinstance(inputs, list) else inputs, *others


def total_of(batches: Iterable[Any], model: object) -> int | None:
    """Images in a DataLoader or a list of batches; None for a stream, and for a loader that does not tell.

    Args:
        batches: The batches.
        model: What they are for.
    """
    if isinstance(batches, DataLoader):
        return _total_of_loader(batches)
    if isinstance(batches, Sequence):
        return sum(_count_in(batch, model) for batch in batches)
    return None


def _count_in(batch: Any, model: object) -> int:
    inputs, *others = _items_of(batch)
    item = LoaderItem(inputs, *others)
    # Only what may be one image is looked at closely: what is wrong with a batch is said when its turn comes.
    return len(LoaderItem.of(batch, model) if getattr(item.first, "ndim", None) == 3 else item)


def _total_of_loader(loader: DataLoader[Any]) -> int | None:
    drawn = loader.batch_sampler
    # Without one each item is a batch of any size; and a loader with a loop of its own draws what it likes.
    if drawn is None or type(loader).__iter__ is not DataLoader.__iter__:
        return None
    if type(drawn) is BatchSampler and isinstance(drawn.sampler, Sized):
        count = len(drawn.sampler)
        return count - count % drawn.batch_size if drawn.drop_last else count
    if isinstance(drawn, Sequence) and all(isinstance(indices, Sized) for indices in drawn):
        return sum(len(indices) for indices in drawn)
    return None


def own_share(batches: Iterable[Any], group: ProcessGroup) -> Iterator[Any]:
    """The batches that this process takes: every ``size``-th one, so that none is repeated to make shares equal.

    A process reads only its own from a DataLoader over a map-style data set, from a sequence, and from what has a
    ``share`` of its own; it reads through anything else. None is a batch of which nothing can be read.

    Raises:
        InputError: A loader whose processes would not see the same batches in the same order.
    """
    if group.size == 1:
        return iter(batches)
    if isinstance(batches, Shareable):
        return iter(batches.share(group.rank, group.size))
    if isinstance(batches, DataLoader):
        _require_same_order(batches)
        sampler = batches.batch_sampler
        if type(batches) is DataLoader and sampler is not None and not isinstance(batches.dataset, IterableDataset):
            return iter(_strided(batches, sampler, group))
    if isinstance(batches, Sequence):
        return (batches[number] for number in range(group.rank, len(batches), group.size))
    return islice(iter(batches), group.rank, None, group.size)


def own_numbered(batches: Iterable[Any], group: ProcessGroup) -> Generator[tuple[int, Any] | None, None, None]:
    """The batches that this process takes, with their numbers among those of all processes.

    Raises:
        InputError: See :func:`own_share`.
    """
    for turn, batch in enumerate(own_share(batches, group)):
        yield None if batch is None else (turn * group.size + group.rank, batch)


def batch_digest(batch: LoaderItem, before: str) -> str:
    """A digest of a batch and of all before it: 32 hexadecimal digits."""
    digest = blake2b(before.encode(), digest_size=16)
    for tensor in _tensors((batch.inputs, batch.target, batch.extra)):
        plain = tensor.detach().cpu().contiguous()
        digest.update(f"{plain.dtype} {tuple(plain.shape)}".encode())
        if plain.numel():
            digest.update(plain.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _strided(loader: DataLoader[Any], sampler: Iterable[Any], group: ProcessGroup) -> DataLoader[Any]:
    return DataLoader(
        loader.dataset,
        batch_sampler=_StridedSampler(sampler, group),
        num_workers=loader.num_workers,
        collate_fn=loader.collate_fn,
        pin_memory=loader.pin_memory,
        timeout=loader.timeout,
        worker_init_fn=loader.worker_init_fn,
        multiprocessing_context=loader.multiprocessing_context,
        generator=loader.generator,
        prefetch_factor=loader.prefetch_factor,
    )


@dataclass(frozen=True)
class _StridedSampler:
    batches: Iterable[Any]
    group: ProcessGroup

    def __iter__(self) -> Iterator[Any]:
        return islice(iter(self.batches), self.group.rank, None, self.group.size)


def _require_same_order(loader: DataLoader[Any]) -> None:
    sampler = loader.sampler
    if isinstance(sampler, DistributedSampler):
        message = (
            "Expected a loader over the whole data on every process, got one with a DistributedSampler, which repeats "
            "images to make shares equal. Leave the sampler out: `fit` shares the batches itself."
        )
        raise InputError(message)
    if isinstance(sampler, RandomSampler):
        message = (
            "Expected a loader that gives every process the same batches in the same order, got one that shuffles. "
            "Use shuffle=False: the order does not matter to the statistics."
        )
        raise InputError(message)


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, Mapping):
        return _tensors(list(value.values()))
    if isinstance(value, (tuple, list)):
        return [tensor for item in value for tensor in _tensors(item)]
    if isinstance(value, (np.ndarray, np.number)):
        return [tensor_of(np.asarray(value))]
    return [torch.tensor(value)] if isinstance(value, (bool, int, float)) else []
