"""What filters see where they are most active: parts of pictures that are read back by number."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol, TypeAlias

from torch import Tensor, nn

from captum_paramsal.errors import InputError
from captum_paramsal.graph import Network, Region, receptive_field
from captum_paramsal.hooks import as_tensor, frozen_eval, unwrap, weight_like, without_hooks
from captum_paramsal.reference.exemplars import Exemplars


class Numbered(Protocol):
    """What has an item for each image, by number: a data set, a list, a tensor of images."""

    def __getitem__(self, number: int) -> Any:
        """The image ``(C, H, W)``, or a tuple that begins with it."""
        ...


Pictures: TypeAlias = Numbered | Callable[[int], Any]
"""Images by number: by index, or by a call."""

_SIZES = 4
"""Sizes of images that the network is kept for."""


class PictureCrops:
    """Cuts out of its exemplars what a filter sees at the place where it is most active.

    That is the receptive field of the place (see :func:`captum_paramsal.graph.receptive_field`), as far as it is inside
    the picture: deep filters see all of it, and so do those after attention or a flattened map. Pictures are read when
    they are asked for, and none is kept.

    Args:
        model: The model of the reference, which takes images alone; left as it is.
        pictures: The images by the numbers of the exemplars, as the model takes them: a data set, a list, a tensor
            ``(N, C, H, W)``, or a function of the number. Of an item with a label, the first part is taken.

    >>> import torch
    >>> _ = torch.manual_seed(0)
    >>> from captum_paramsal import Reference
    >>> model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    >>> images, labels = torch.rand(10, 3, 8, 8), torch.arange(10) % 2
    >>> reference = Reference.fit(model, [(images, labels)], exemplars=3, show_progress=False)
    >>> crops = PictureCrops(model, images).of(reference.exemplars(reference.filters[1]))
    >>> [tuple(crop.shape) for crop in crops]
    [(3, 3, 3), (3, 3, 3), (3, 3, 3)]
    """

    def __init__(self, model: nn.Module, pictures: Pictures) -> None:
        self._model = unwrap(model)
        self._pictures = pictures
        self._networks: dict[tuple[int, ...], Network] = {}

    def of(self, exemplars: Exemplars) -> list[Tensor]:
        """A crop of each exemplar, ``(C, h, w)``, the most active first.

        Raises:
            InputError: A number that has no picture, or an item that does not begin with an image.
        """
        crops = []
        for picture, box in self._parts(exemplars):
            inside = (slice(None), *(slice(low, high + 1) for low, high in box))
            crops.append(picture[inside])
        return crops

    def boxes(self, exemplars: Exemplars) -> list[Region]:
        """First and last row, first and last column of each crop in its picture, both included.

        Raises:
            InputError: See :meth:`of`.
        """
        return [box for _, box in self._parts(exemplars)]

    def _parts(self, exemplars: Exemplars) -> Iterator[tuple[Tensor, Region]]:
        """The picture of each exemplar, and the bounds of what the filter sees."""
        for number, place in zip(exemplars.images, exemplars.places, strict=True):
            picture = self._picture(number)
            region = receptive_field(self._network(picture), exemplars.filter.layer, place)
            whole = tuple((0, size - 1) for size in picture.shape[1:])
            yield picture, whole if region is None else region[2:]

    def _picture(self, number: int) -> Tensor:
        try:
            item = self._pictures(number) if callable(self._pictures) else self._pictures[number]
        except (IndexError, KeyError) as error:
            message = (
                f"Expected pictures for all images of the reference, got none with number {number}. Give the data that "
                "the reference was fitted on, in the same order."
            )
            raise InputError(message) from error
        first = item[0] if isinstance(item, (tuple, list)) else item
        picture = as_tensor(first, self._model)
        if not isinstance(picture, Tensor) or picture.ndim < 2:
            got = tuple(picture.shape) if isinstance(picture, Tensor) else type(picture).__name__
            message = f"Expected pictures as tensors (C, H, W), got {got} for number {number}."
            raise InputError(message)
        return picture

    def _network(self, picture: Tensor) -> Network:
        size = tuple(picture.shape)
        if size not in self._networks:
            with frozen_eval(self._model):
                inputs = picture[None].to(weight_like(self._model).device)
                self._networks[size] = Network.of(without_hooks(self._model), inputs)
            while len(self._networks) > _SIZES:
                del self._networks[next(iter(self._networks))]
        return self._networks[size]
