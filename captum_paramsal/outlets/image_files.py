"""Files of the images that a report is about, and where in them the model looked."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from captum_paramsal.errors import SourceError
from captum_paramsal.files import open_folder
from captum_paramsal.sources import LabelledPhotos, ShownSource

Part = tuple[float, float, float, float]
"""x1, y1, x2, y2 of what the model sees, as shares of the width and height of the picture."""
WHOLE: Part = (0.0, 0.0, 1.0, 1.0)


def image_files(images: ShownSource, pictures: str | Path | None) -> list[Path]:
    """Where the file of every image lies: of photos their own, of others one that is written when it is needed.

    Args:
        images: Photos in a folder, or images in memory.
        pictures: Folder for pictures of the latter.

    Raises:
        SourceError: Images in memory, and no folder.
    """
    if isinstance(images, LabelledPhotos):
        return images.paths()
    if pictures is None:
        message = (
            f"Expected a folder for pictures of images that are no files ({type(images).__name__}), got none. Name one "
            'as `pictures="folder"`.'
        )
        raise SourceError(message)
    folder = Path(pictures).resolve()
    return [folder / f"{position:06}.png" for position in range(len(images.items))]


def write_pictures(images: ShownSource, files: Sequence[Path], positions: Sequence[int]) -> None:
    """Write the pictures of images that are no files.

    Raises:
        SourceError: They cannot be written.
    """
    if isinstance(images, LabelledPhotos) or not positions:
        return
    open_folder(files[0].parent)
    for position in positions:
        images.upright(position).save(files[position])


def seen_part(images: ShownSource, position: int) -> Part:
    """Which part of the picture the model sees."""
    return images.seen_part(position) if isinstance(images, LabelledPhotos) else WHOLE
