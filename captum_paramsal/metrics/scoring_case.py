"""What a metric judges: one method's maps of some images, with all that is known about them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from captum_paramsal.batch import Given, ModelInputs, as_inputs, require_size
from captum_paramsal.errors import InputError, TargetError
from captum_paramsal.functional import labels_of, tensor_of
from captum_paramsal.hooks import Output
from captum_paramsal.metrics.boxes import Boxes, boxes_per_image
from captum_paramsal.metrics.input_maps import InputMaps
from captum_paramsal.metrics.model_state import explaining, scored_function
from captum_paramsal.metrics.shared_passes import SharedPasses


@dataclass(frozen=True, eq=False)
class Case:
    """Maps of one method, and what they are judged by.

    Attributes:
        model: A classifier that returns class scores ``(N, K)``, before softmax. A module is run in evaluation mode and
            left as it was; any other function is called as it is.
        images: ``(N, C, H, W)``.
        targets: The class that each map explains, ``(N,)`` int64.
        maps: The shape of ``images``.
        explain: What made them, for metrics that ask the method again.
        boxes: The object's boxes in pixels; a row of NaN is none. None where no image has any.
        additional_forward_args: Further arguments of the model; tensors with N rows go with their images.
        rebuild: Makes the same method for another model of the same layers; None where that is not possible.
        max_examples_per_batch: Images or altered copies per pass, though at least N where Captum's metrics run; bounds
            memory, not the result. None runs all copies at once.
        shared: Passes that do not depend on the method; give the cases of all methods on these images the same one.
        output: What makes class scores ``(N, C)`` of what the model returns, where it returns something else than
            these or ``logits``.

    Raises:
        InputError: No images, values that are not finite, or maps of another shape.
        TargetError: Not one class per image.
    """

    model: Callable[..., Tensor]
    images: Tensor
    targets: Tensor
    maps: Tensor
    explain: InputMaps
    boxes: Boxes | None = None
    additional_forward_args: Any = None
    rebuild: Callable[[nn.Module], InputMaps] | None = None
    max_examples_per_batch: int | None = None
    shared: SharedPasses = field(default_factory=SharedPasses)
    output: Output | None = None

    def __post_init__(self) -> None:
        # The model with its output is the model from then on, also in copies of this case with other maps.
        object.__setattr__(self, "model", scored_function(self.model, self.output))
        object.__setattr__(self, "output", None)
        self._take_as_tensors()
        if not isinstance(self.images, Tensor) or self.images.ndim != 4 or not self.images.is_floating_point():
            got = tuple(self.images.shape) if isinstance(self.images, Tensor) else type(self.images).__name__
            message = f"Expected `images` (N, C, H, W) of floating point, got {got}."
            raise InputError(message)
        if not isinstance(self.targets, Tensor) or self.targets.shape != (len(self.images),):
            got = tuple(self.targets.shape) if isinstance(self.targets, Tensor) else type(self.targets).__name__
            message = f"Expected `targets` with one class per image, a tensor ({len(self.images)},), got {got}."
            raise TargetError(message)
        if self.maps.shape != self.images.shape:
            message = (
                f"Expected `maps` of the images' shape, {tuple(self.images.shape)}, got {tuple(self.maps.shape)}. "
                "InputMaps makes them so."
            )
            raise InputError(message)
        require_size(self.max_examples_per_batch)
        _ = self.batch

    def _take_as_tensors(self) -> None:
        """Arrays of numpy, one image and its class, as tensors with a dimension of examples."""
        maps, images = tensor_of(self.maps), images_of(self.model, self.images, self.targets)
        one = isinstance(images, Tensor) and isinstance(maps, Tensor) and images.shape == (1, *maps.shape)
        object.__setattr__(self, "images", images)
        object.__setattr__(self, "targets", case_classes(self.targets, images))
        object.__setattr__(self, "maps", maps[None] if one else maps)

    @classmethod
    def of(
        cls, model: Callable[..., Tensor], method: Any, images: Given, targets: Any, *, seed: int = 0, **known: Any
    ) -> Case:
        """Explain images, for metrics to judge.

        Args:
            model: See :class:`Case`.
            method: An :class:`InputMaps`, or what it takes.
            images: ``(N, C, H, W)``, or one ``(C, H, W)``; arrays of numpy too.
            targets: One class for each, ``(N,)``.
            seed: Where the random numbers of the method begin.
            **known: The other attributes of :class:`Case`.
        """
        explain = method if isinstance(method, InputMaps) else InputMaps(method)
        model = scored_function(model, known.pop("output", None))
        pictures = images_of(model, images, targets)
        classes = case_classes(targets, pictures)
        extra = known.get("additional_forward_args")
        with explaining(model, seed):
            maps = explain(pictures, target=classes, additional_forward_args=extra)
        return cls(model, pictures, classes, maps, explain, **known)

    def explained_by(
        self, explain: InputMaps, maps: Tensor, rebuild: Callable[[nn.Module], InputMaps] | None = None
    ) -> Case:
        """The same images with another method's maps; passes that depend on no method are shared."""
        return replace(self, explain=explain, maps=maps, rebuild=rebuild)

    def __len__(self) -> int:
        return len(self.images)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the images in pixels."""
        return self.images.shape[2], self.images.shape[3]

    @cached_property
    def batch(self) -> ModelInputs:
        """Images, labels and further arguments, checked."""
        return ModelInputs.of(self.images, self.targets, self.additional_forward_args)

    @cached_property
    def degenerate(self) -> Tensor:
        """Maps that show nothing, ``(N,)`` bool: the same at every pixel, up to rounding, or not finite everywhere."""
        flat = self.maps.detach().flatten(2)
        spread = flat.amax(dim=2) - flat.amin(dim=2)
        # Enlarging a layer's map rounds, also where it is the same everywhere.
        rounding = 16 * torch.finfo(flat.dtype).eps * flat.abs().amax(dim=2)
        flat_maps = (spread <= rounding).all(dim=1)
        return (flat_maps | ~flat.isfinite().flatten(1).all(dim=1)).cpu()

    def judged(self, values: Tensor) -> Tensor:
        """Numbers of the images, ``(N, ...)``, as a metric returns them: float64, NaN for degenerate maps."""
        numbers = values.detach().cpu().double()
        return numbers.where(~self.degenerate.view(-1, *[1] * (numbers.ndim - 1)), torch.nan)

    @cached_property
    def known_boxes(self) -> dict[int, Tensor]:
        """The boxes of each image that has some, ``(B, 4)`` float64, by the image's place.

        Raises:
            InputError: There are no boxes at all, or they do not go with the images.
        """
        if self.boxes is None:
            message = "Expected `boxes` of the objects, which this metric needs, got None."
            raise InputError(message)
        rows = boxes_per_image(self.boxes, len(self), self.size, may_be_empty=True)
        real = [one[~one.isnan().any(dim=1)] for one in rows]
        return {place: one for place, one in enumerate(real) if len(one)}

    def at_known_boxes(self, values: Tensor) -> Tensor:
        """Numbers of the images with boxes, in their order, as ``(N,)`` float64; NaN for the other images."""
        whole = torch.full((len(self),), torch.nan, dtype=torch.float64)
        whole[list(self.known_boxes)] = values.double()
        return whole


def images_of(model: Callable[..., Any], images: Any, targets: Any = None) -> Any:
    """Images as tensors ``(N, C, H, W)``, of an array or of one image too; what is neither is refused later."""
    if not isinstance(images, (Tensor, np.ndarray)) or images.ndim not in (3, 4):
        return images
    return as_inputs(model, images, targets, only_images=True)


def case_classes(targets: Any, images: Any) -> Any:
    """One class per image as a tensor ``(N,)``, of whatever names them; what does not is refused later."""
    one_for_all = isinstance(targets, (int, np.integer)) and not isinstance(targets, bool)
    if (isinstance(targets, Tensor) and targets.ndim == 1) or not isinstance(images, Tensor):
        return targets
    if one_for_all and len(images) > 1:
        return targets
    try:
        rows = labels_of(targets, len(images))
    except TargetError:
        return targets
    return targets if rows is None or rows.shape[1] != 1 else rows[:, 0]
