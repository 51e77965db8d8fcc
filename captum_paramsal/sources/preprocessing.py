"""How a photo becomes what the model takes."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from captum_paramsal.errors import SourceError
from captum_paramsal.sources.depth import eight_bits

if TYPE_CHECKING:
    from PIL import Image

Resize = Literal["crop", "squash", "squash, crop"]
Cut = Literal["nearest", "before"]


@dataclass(frozen=True)
class Placement:
    """How a photo lies below the square that the model gets.

    Attributes:
        width: Of the photo after it was resized, in pixels.
        height: Likewise.
        left: Pixels of it on the left of the square; negative where the square is wider.
        top: Pixels of it above the square.
    """

    width: int
    height: int
    left: int = 0
    top: int = 0


@dataclass(frozen=True)
class Preprocessing:
    """Resize, cut, scale to [0, 1] and normalise one photo.

    The same picture, pixel for pixel, as torchvision's classification presets make, without torchvision.

    Attributes:
        image_size: Side of the square that the model gets, in pixels.
        short_side: Length of the shorter side before the centre is cut out, in pixels; unused by "squash".
        resize: "crop" keeps the aspect and cuts out the centre, "squash" keeps everything and not the aspect. "squash,
            crop" squashes the photo into a square of `short_side`, and cuts out the centre of that.
        mean: Per channel, in [0, 1]; one channel means greyscale pictures.
        std: Per channel.
        interpolation: "nearest", "bilinear", "bicubic", "lanczos", "box" or "hamming".
        cut: Where the centre is cut out if it lies between two pixels: at the "nearest" one as in torchvision, or at
            the one "before" it as in Hugging Face's processors.
        origin: Who says so, in words, if it is not the architecture's own preset.
    """

    image_size: int = 224
    short_side: int = 256
    resize: Resize = "crop"
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    interpolation: str = "bilinear"
    cut: Cut = "nearest"
    origin: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        """Refuse what cannot be a preparation.

        Raises:
            SourceError: A size below 1, an unknown way to resize, or a mean and std that do not go together.
        """
        if self.image_size < 1 or self.short_side < 1:
            message = f"Expected an image size of at least 1 pixel, got {min(self.image_size, self.short_side)}."
            raise SourceError(message)
        if self.resize not in get_args(Resize):
            message = f'Expected `resize` to be "crop", "squash" or "squash, crop", got {self.resize!r}.'
            raise SourceError(message)
        if len(self.mean) not in (1, 3) or len(self.mean) != len(self.std):
            message = (
                "Expected `mean` and `std` with one value (greyscale) or three (colour) each, "
                f"got {len(self.mean)} and {len(self.std)}."
            )
            raise SourceError(message)
        if not all(value > 0 for value in self.std):
            message = f"Expected `std` above 0, got {self.std}."
            raise SourceError(message)

    def override(
        self,
        *,
        image_size: int | None = None,
        resize: Resize | None = None,
        mean: tuple[float, ...] | None = None,
        std: tuple[float, ...] | None = None,
    ) -> Preprocessing:
        """A copy with what is given put in place; a new image size keeps its proportion to the short side.

        >>> Preprocessing().override(image_size=112).short_side
        128
        """
        size = self.image_size if image_size is None else image_size
        return replace(
            self,
            image_size=size,
            short_side=max(size, round(self.short_side * size / self.image_size)),
            resize=resize or self.resize,
            mean=self.mean if mean is None else mean,
            std=self.std if std is None else std,
        )

    def describe(self) -> str:
        """One line for people.

        >>> print(Preprocessing(image_size=32, resize="squash", mean=(0.5,), std=(0.5,)).describe())
        squashed to 32 x 32 px (bilinear), greyscale, mean 0.5, std 0.5
        """
        side = self.image_size
        shape = f"squashed to {side} x {side} px"
        if self.resize != "squash":
            before = "shorter side" if self.resize == "crop" else "squashed"
            shape = f"{before} to {self.short_side} px, centre {side} x {side} px"
        colour = "greyscale" if len(self.mean) == 1 else "RGB"
        mean, std = (", ".join(f"{value:g}" for value in values) for values in (self.mean, self.std))
        origin = f"; from {self.origin}" if self.origin else ""
        return f"{shape} ({self.interpolation}), {colour}, mean {mean}, std {std}{origin}"

    def picture(self, photo: Image.Image) -> Image.Image:
        """The picture that the model sees: upright, resized and cut, not yet normalised."""
        from PIL import ImageOps  # noqa: PLC0415

        upright = ImageOps.exif_transpose(photo)
        coloured = eight_bits(upright).convert("L" if len(self.mean) == 1 else "RGB")
        place = self.placement(*coloured.size)
        larger = self._resized(coloured, place.width, place.height)
        side = self.image_size
        if larger.size == (side, side):
            return larger
        return larger.crop((place.left, place.top, place.left + side, place.top + side))

    def placement(self, width: int, height: int) -> Placement:
        """Where an upright photo of this size comes to lie.

        >>> Preprocessing().placement(512, 256)
        Placement(width=512, height=256, left=144, top=16)
        """
        if self.resize == "squash":
            return Placement(self.image_size, self.image_size)
        if self.resize == "squash, crop":
            left = self._margin(self.short_side)
            return Placement(self.short_side, self.short_side, left, left)
        # Truncated, not rounded, because torchvision does so; the difference would be a row of pixels.
        scaled = int(self.short_side * max(width, height) / min(width, height))
        wide, high = (scaled, self.short_side) if width >= height else (self.short_side, scaled)
        return Placement(wide, high, self._margin(wide), self._margin(high))

    def tensor(self, picture: Image.Image) -> Tensor:
        """The normalised ``(C, image_size, image_size)`` tensor of such a picture."""
        pixels = torch.from_numpy(np.array(picture, dtype=np.float32) / 255.0)
        planes = pixels.unsqueeze(0) if pixels.ndim == 2 else pixels.permute(2, 0, 1)
        mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (self.mean, self.std))
        return (planes - mean) / std

    def _margin(self, side: int) -> int:
        """Pixels before the centre."""
        middle = (side - self.image_size) / 2.0
        return round(middle) if self.cut == "nearest" else int(middle)

    def _resized(self, picture: Image.Image, width: int, height: int) -> Image.Image:
        from PIL import Image  # noqa: PLC0415

        if picture.size == (width, height):
            return picture
        return picture.resize((width, height), Image.Resampling[self.interpolation.upper()])
