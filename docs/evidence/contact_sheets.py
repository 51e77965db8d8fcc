"""Sheets of mistakes to be read by eye: each photo with its object's boxes, beside a map, under both class names.

They say nothing of what a tool makes of a mistake, so that a reader's word is independent of it.
"""

from collections.abc import Iterator, Sequence

from photos import SIDE, SQUEEZENET_INPUT, Photos
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from captum_paramsal.viz import display_map

__all__ = ["as_picture", "contact_sheets"]

COLUMNS, ROWS = 3, 4
TITLE, GAP = 36, 8


def contact_sheets(photos: Photos, maps: Tensor, titles: Sequence[str]) -> Iterator[Image.Image]:
    """Twelve mistakes on each sheet.

    Args:
        photos: Normalised, with boxes.
        maps: One each, ``(N, H, W)``.
        titles: Two lines for each photo.
    """
    width, height = 2 * SIDE + GAP, SIDE + TITLE + GAP
    for start in range(0, len(titles), COLUMNS * ROWS):
        sheet = Image.new("RGB", (COLUMNS * (width + GAP), ROWS * height), "white")
        for place, number in enumerate(range(start, min(start + COLUMNS * ROWS, len(titles)))):
            x, y = place % COLUMNS * (width + GAP), place // COLUMNS * height
            ImageDraw.Draw(sheet).text((x, y), titles[number], fill="black", font=ImageFont.load_default(14))
            picture = as_picture(photos.images[number])
            sheet.paste(_with_map(picture, maps[number]), (x + SIDE + GAP, y + TITLE))
            for box in photos.boxes[number].tolist():
                ImageDraw.Draw(picture).rectangle(box, outline="lime", width=2)
            sheet.paste(picture, (x, y + TITLE))
        yield sheet


def as_picture(image: Tensor) -> Image.Image:
    """A photo ``(3, H, W)`` as it was before it was normalised."""
    mean, std = (each[:, None, None] for each in (SQUEEZENET_INPUT.mean, SQUEEZENET_INPUT.std))
    pixels = ((image * std + mean).clamp(0, 1) * 255).round().byte()
    return Image.fromarray(pixels.permute(1, 2, 0).numpy())


def _with_map(picture: Image.Image, values: Tensor) -> Image.Image:
    """What stands out in red over a grey photo."""
    strength = display_map(values[None])
    red = Image.new("RGB", picture.size, "red")
    mask = Image.fromarray((200 * strength).byte().numpy())
    return Image.composite(red, picture.convert("L").convert("RGB"), mask)
