"""Objects that people marked in pictures, as their tools save them: files of labelme and of COCO in a folder."""

from __future__ import annotations

import json
import posixpath
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from typing_extensions import Self

from captum_paramsal.errors import SourceError
from captum_paramsal.files.kinds import PICTURES
from captum_paramsal.sources.coco import is_coco, read_coco
from captum_paramsal.sources.drawn_shapes import AnnotatedPicture
from captum_paramsal.sources.labelme import is_labelme, read_labelme
from captum_paramsal.sources.walk import walk

INDEX = "pictures.json"
"""Which image each picture of a folder to annotate shows."""
_SHOWN = 5


@dataclass(frozen=True)
class Annotations:
    """What was marked, read from the files of labelme and COCO in a folder.

    Attributes:
        folder: Where, or the one file.
        pictures: Every picture that a file names, also those without a shape.
        images: Name of the image that each picture shows, where :func:`captum_paramsal.report.annotate` wrote the
            folder; empty for a folder of your own, whose pictures are called as the images are.
    """

    folder: Path
    pictures: tuple[AnnotatedPicture, ...] = field(repr=False)
    images: Mapping[str, str] = field(default_factory=dict, repr=False)

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """Read every JSON file of a folder and of the folders in it, or one file.

        Args:
            path: The folder or file.

        Raises:
            SourceError: No such folder or file, or none to read; a file that is neither labelme's nor COCO's, or
                damaged; a shape without an area, or outside of its picture.
        """
        place = Path(path)
        if place.is_dir():
            folder, files = place, sorted(name for name in walk(place)[0] if name.lower().endswith(".json"))
        else:
            folder, files = place.parent, [place.name]
        # A file of a folder that `annotate` wrote, or its pictures alone, may be named too.
        index = next((above / INDEX for above in (folder, folder.parent) if (above / INDEX).is_file()), None)
        images = {} if index is None else PICTURES.load(index, _images)
        named = [picture for file in files if file != INDEX for picture in _pictures(folder, file)]
        if not named and not images:
            message = f"Expected JSON files of labelme or COCO at '{place}', got none."
            raise SourceError(message)
        return cls(place, tuple(named), images)

    @property
    def annotated(self) -> tuple[AnnotatedPicture, ...]:
        """Those with a shape."""
        return tuple(picture for picture in self.pictures if picture.shapes)

    def __str__(self) -> str:
        """How many of the pictures are annotated."""
        count = len(self.images) or len({picture.picture for picture in self.pictures})
        share = f" ({len(self.annotated) / count:.0%})" if count else ""
        return f"{len(self.annotated)} of {count} pictures annotated{share} in '{self.folder}'"

    def by_image(self, names: Sequence[str]) -> dict[str, AnnotatedPicture]:
        """The annotated pictures, by the name of the image that each shows.

        A picture of your own folder shows the image that is called as it is, from where its file lies or from the
        folder on; or else the only image whose name ends so.

        Args:
            names: Of all images.

        Raises:
            SourceError: Pictures that show none of these images, or one that may show several; an image with shapes in
                two files, or whose name another one has.
        """
        known, ends = Counter(names), _by_end(names)
        shown: dict[str, AnnotatedPicture] = {}
        strange = []
        for picture in self.annotated:
            name = self._image_of(picture, known, ends)
            if name is None:
                strange.append(picture)
                continue
            if known[name] > 1:
                message = (
                    f"Expected a name of its own for every annotated image, got {known[name]} images that are called "
                    f"'{name}', which '{picture.file}' of '{self.folder}' annotates."
                )
                raise SourceError(message)
            before = shown.setdefault(name, picture)
            if before is not picture:
                message = (
                    f"Expected the shapes of '{name}' in one file, got some in '{before.file}' and in '{picture.file}' "
                    f"of '{self.folder}'. Keep one of them."
                )
                raise SourceError(message)
        if strange:
            listed = ", ".join(f"'{picture.picture}' in '{picture.file}'" for picture in strange[:_SHOWN])
            message = (
                f"Expected annotated pictures of the {len(known)} images given, got {len(strange)} of '{self.folder}' "
                f"that show none of them: {listed}{', ...' if len(strange) > _SHOWN else ''}. Give the table that they "
                "were chosen from, or take them away."
            )
            raise SourceError(message)
        return shown

    def masks(self, names: Sequence[str], size: tuple[int, int]) -> list[Tensor | None]:
        """Masks of images in memory, which were shown as they are.

        Args:
            names: Of the images.
            size: Their height and width.

        Returns:
            For each image ``(H, W)`` bool, or None where it is not annotated: what
            :func:`captum_paramsal.repair.foreground` takes as ``masks``.

        Raises:
            SourceError: See :meth:`by_image`; or a picture has another size.
        """
        shown = self.by_image(names)
        for name, picture in shown.items():
            require_picture_size(picture, size[1], size[0], name)
        return [torch.from_numpy(shown[name].mask()) if name in shown else None for name in names]

    def _image_of(
        self, picture: AnnotatedPicture, known: Mapping[str, int], ends: Mapping[str, Sequence[str]]
    ) -> str | None:
        written = picture.picture.replace("\\", "/")
        end = posixpath.basename(written)
        if self.images:
            return name if (name := self.images.get(end)) in known else None
        for name in (posixpath.join(posixpath.dirname(picture.file), written), written):
            if (plain := posixpath.normpath(name)) in known:
                return plain
        fitting = ends.get(end, ())
        if len(fitting) > 1:
            message = (
                f"Expected one image called '{end}', which '{picture.file}' of '{self.folder}' annotates, got "
                f"{len(fitting)}: {', '.join(map(repr, fitting[:_SHOWN]))}. Write the folder with the name."
            )
            raise SourceError(message)
        return fitting[0] if fitting else None


def require_picture_size(picture: AnnotatedPicture, width: int, height: int, name: str) -> None:
    """Refuse an annotation of a picture of another size than the image, whose shapes would lie elsewhere.

    Raises:
        SourceError: It is of another size.
    """
    if (picture.width, picture.height) != (width, height):
        turned = (
            " Shapes are counted on the photo as it is shown, turned upright."
            if width != height and (picture.width, picture.height) == (height, width)
            else ""
        )
        message = (
            f"Expected annotations of '{name}' on its {width} x {height} pixels (width x height), got ones on "
            f"{picture.width} x {picture.height} in '{picture.file}'.{turned}"
        )
        raise SourceError(message)


def _pictures(folder: Path, file: str) -> Iterator[AnnotatedPicture]:
    content = _content(folder, file)
    if is_labelme(content):
        yield read_labelme(content, file)
    elif is_coco(content):
        yield from read_coco(content, file)
    else:
        keys = ", ".join(map(repr, list(content)[:_SHOWN])) if isinstance(content, dict) else type(content).__name__
        message = (
            f"Expected files of labelme (with shapes and imagePath) or COCO (with images and annotations) in "
            f"'{folder}', got '{file}' with {keys or 'nothing'}. Take it away, or export one of the two formats."
        )
        raise SourceError(message)


def _content(folder: Path, file: str) -> Any:
    try:
        return json.loads((folder / file).read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        message = f"Expected a JSON file of labelme or COCO at '{folder / file}', got {type(error).__name__}: {error}."
        raise SourceError(message) from error


def _images(content: Mapping[str, Any]) -> dict[str, str]:
    return {str(entry["picture"]): str(entry["file"]) for entry in content["pictures"]}


def _by_end(names: Sequence[str]) -> dict[str, list[str]]:
    ends: dict[str, list[str]] = {}
    for name in names:
        ends.setdefault(posixpath.basename(name), []).append(name)
    return ends
