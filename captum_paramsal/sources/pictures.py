"""Small pictures for a report."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from captum_paramsal.errors import SourceError

if TYPE_CHECKING:
    from PIL import Image

_LARGEST, _TINY = 256, 96
_SEEN, _OVERLAY = 152, 128
"""A report shows a photo about 170 pixels wide, and next to it what glows over it: looked at, more adds nothing."""
_CROP, _FEW = 80, 32
"""Parts of pictures are shown small, and many at once."""
_SMOOTH = 28
"""Pixels that a smooth glow needs: the page stretches it, which adds no more than was there."""


@dataclass(frozen=True)
class Picture:
    """An encoded picture.

    Attributes:
        data: The file's bytes.
        mime: Their type, such as ``image/png``.
        width: In pixels.
        height: In pixels.
    """

    data: bytes
    mime: str
    width: int
    height: int

    @property
    def uri(self) -> str:
        """The picture as a ``data:`` address that an HTML file can hold."""
        return f"data:{self.mime};base64,{base64.b64encode(self.data).decode('ascii')}"


def encode(picture: Image.Image, *, drawn: bool = False) -> Picture:
    """Shrink to at most 256 pixels, a photo to 152; of small ones, which are shown large, hardly anything is lost.

    Args:
        picture: Any size.
        drawn: Its colours mean something, and are kept pixel by pixel, as JPEG; in a photo, as WebP, neighbours may
            share theirs.
    """
    largest = _LARGEST if drawn else _SEEN
    small = picture.copy()
    small.thumbnail((largest, largest))
    if max(small.size) <= (_TINY if drawn else _FEW):
        return _lossless(small)
    if drawn:
        return _saved(small, "JPEG", quality=82, optimize=True, subsampling=0)
    return _lossy(small, quality=95 if max(small.size) <= _TINY else 50)


def encode_crop(picture: Image.Image) -> Picture:
    """Encode a part of a picture, at most 80 pixels; without loss where every pixel counts."""
    small = picture.copy()
    small.thumbnail((_CROP, _CROP))
    return _lossless(small) if max(small.size) <= _FEW else _lossy(small, quality=50)


def encode_whole(picture: Image.Image) -> Picture:
    """A picture in its own size; JPEG, which every tool for annotations reads, or PNG where it is small."""
    if max(picture.size) <= _TINY:
        return _saved(picture, "PNG", optimize=True)
    return _saved(picture, "JPEG", quality=92, optimize=True, subsampling=0)


def encode_tensor(pixels: Tensor) -> Picture:
    """Encode one picture ``(1 or 3, H, W)`` with values in [0, 1]; values outside are cut off.

    Raises:
        SourceError: Another shape.
    """
    return encode(drawn_of(pixels), drawn=True)


def encode_overlay(pixels: Tensor) -> Picture:
    """Encode a picture that something glows over, ``(3, H, W)`` in [0, 1], at most 128 pixels; without loss if tiny.

    Raises:
        SourceError: Another shape.
    """
    drawn = drawn_of(pixels)
    # What glows has no pixel that counts, and a small picture is shown large.
    quality = 80 if max(drawn.size) <= _TINY else 45
    drawn.thumbnail((_OVERLAY, _OVERLAY))
    return _lossless(drawn) if max(drawn.size) <= _FEW else _lossy(drawn, quality)


def encode_glow(pixels: Tensor) -> Picture:
    """Encode what is laid over a picture, smooth and in its own size.

    Args:
        pixels: ``(4, H, W)`` in [0, 1]: red, green, blue and opacity.

    Raises:
        SourceError: Another shape.
    """
    from PIL import Image  # noqa: PLC0415

    if pixels.ndim != 3 or pixels.shape[0] != 4:
        message = f"Expected a glow of shape (4, H, W), got {tuple(pixels.shape)}."
        raise SourceError(message)
    return _lossy(Image.fromarray(_bytes(pixels)), quality=60)


def recode(png: bytes) -> Picture:
    """A picture inside of a figure as small as a photo, in its own size."""
    from PIL import Image  # noqa: PLC0415

    with Image.open(io.BytesIO(png)) as opened:
        return _lossy(opened.convert("RGBA"), quality=75)


def glow_size(picture: Picture) -> tuple[int, int]:
    """Height and width of a smooth glow over a picture.

    >>> glow_size(Picture(b"", "image/webp", 168, 84))
    (14, 28)
    """
    share = min(1.0, _SMOOTH / max(picture.height, picture.width))
    return max(1, round(picture.height * share)), max(1, round(picture.width * share))


def drawn_of(pixels: Tensor) -> Image.Image:
    """One picture ``(1 or 3, H, W)`` with values in [0, 1], in 8 bits; values outside are cut off.

    Raises:
        SourceError: Another shape.
    """
    from PIL import Image  # noqa: PLC0415

    if pixels.ndim != 3 or pixels.shape[0] not in (1, 3):
        message = f"Expected a picture of shape (1 or 3, H, W), got {tuple(pixels.shape)}."
        raise SourceError(message)
    array = _bytes(pixels)
    return Image.fromarray(array[:, :, 0] if array.shape[2] == 1 else array)


def _bytes(pixels: Tensor) -> NDArray[np.uint8]:
    """``(H, W, C)`` of ``(C, H, W)`` in [0, 1]; values outside are cut off."""
    array: NDArray[np.uint8] = (pixels.detach().cpu().float().clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()
    return array


def _lossless(picture: Image.Image) -> Picture:
    """As WebP, a third smaller than PNG; as that where Pillow was built without it, or in shades of grey."""
    from PIL import features  # noqa: PLC0415

    if picture.mode == "RGB" and features.check("webp"):
        return _saved(picture, "WEBP", lossless=True, quality=100, method=6)
    return _saved(picture, "PNG", optimize=True)


def _lossy(picture: Image.Image, quality: int) -> Picture:
    """As WebP; where Pillow was built without it, as JPEG, or as PNG if partly transparent."""
    from PIL import features  # noqa: PLC0415

    if features.check("webp"):
        return _saved(picture, "WEBP", quality=quality, alpha_quality=20, method=6)
    if picture.mode == "RGBA":
        return _saved(picture, "PNG", optimize=True)
    return _saved(picture, "JPEG", quality=quality, optimize=True)


def _saved(picture: Image.Image, name: str, **options: Any) -> Picture:
    buffer = io.BytesIO()
    picture.save(buffer, format=name, **options)
    return Picture(buffer.getvalue(), f"image/{name.lower()}", *picture.size)
