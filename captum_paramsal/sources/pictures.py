"""Small pictures for a report."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

from captum_paramsal.errors import SourceError

if TYPE_CHECKING:
    from PIL import Image

_LARGEST = 256
_TINY = 96


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
    """Shrink to at most 256 pixels; JPEG, or PNG where pictures are so small that every pixel counts.

    Args:
        picture: Any size.
        drawn: Its colours mean something, and are kept pixel by pixel; in a photo neighbours may share theirs.
    """
    small = picture.copy()
    small.thumbnail((_LARGEST, _LARGEST))
    return _encoded(small, drawn=drawn)


def encode_whole(picture: Image.Image) -> Picture:
    """A picture in its own size; JPEG, or PNG where it is small."""
    return _encoded(picture, drawn=True, quality=92)


def _encoded(small: Image.Image, *, drawn: bool, quality: int = 82) -> Picture:
    tiny = max(small.size) <= _TINY
    buffer = io.BytesIO()
    if tiny:
        small.save(buffer, format="PNG", optimize=True)
    else:
        small.save(buffer, format="JPEG", quality=quality, optimize=True, subsampling=0 if drawn else 2)
    return Picture(buffer.getvalue(), "image/png" if tiny else "image/jpeg", *small.size)


def encode_tensor(pixels: Tensor) -> Picture:
    """Encode one picture ``(1 or 3, H, W)`` with values in [0, 1]; values outside are cut off.

    Raises:
        SourceError: Another shape.
    """
    return encode(drawn_of(pixels), drawn=True)


def drawn_of(pixels: Tensor) -> Image.Image:
    """One picture ``(1 or 3, H, W)`` with values in [0, 1], in 8 bits; values outside are cut off.

    Raises:
        SourceError: Another shape.
    """
    from PIL import Image  # noqa: PLC0415

    if pixels.ndim != 3 or pixels.shape[0] not in (1, 3):
        message = f"Expected a picture of shape (1 or 3, H, W), got {tuple(pixels.shape)}."
        raise SourceError(message)
    array = (pixels.detach().cpu().float().clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()
    return Image.fromarray(array[:, :, 0] if array.shape[2] == 1 else array)
