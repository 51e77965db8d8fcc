"""Pictures of what the usual suspects look for, cut out of the reference's images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from captum_paramsal.errors import InputError, TraceError
from captum_paramsal.filters import Filter
from captum_paramsal.reference import Exemplars, PictureCrops, Reference
from captum_paramsal.report.explain.exemplar_records import ExemplarImage, FilterExemplars, SuspectExemplars
from captum_paramsal.report.explain.reference_images import ReferenceImages
from captum_paramsal.sources import Picture
from captum_paramsal.sources.pictures import encode_crop

if TYPE_CHECKING:
    from PIL import Image

_SHOWN = 6
"""Exemplars of a filter that are shown."""
_CLASSES = 3

_NOT_KEPT = (
    "What these filters look for is not shown, since the reference keeps no exemplars. Take one that does: "
    "`captum-paramsal reference --exemplars 9`, or `Reference.fit(..., exemplars=9)`."
)
_NOT_THERE = (
    "{} of {} pictures are not among the images at hand, by name and class. Give those that the reference was taken "
    "on: `--reference-images FOLDER`, or `reference_images=`."
)
_CHANGED = (
    "{} of {} pictures are left out: the filters make something else of them than of the images that the reference was "
    "taken on, so that the files, or how they are prepared, must have changed."
)
_WHOLE = "Pictures are shown whole, since it cannot be told which part of them a filter sees: {}"

_Box: TypeAlias = tuple[int, int, int, int]


@dataclass(frozen=True)
class DrawnExemplars:
    """What is said of the suspects' exemplars, and their pictures.

    Attributes:
        records: What is said.
        pictures: By filter, by the number of the image, what the filter sees in it.
    """

    records: SuspectExemplars = field(default_factory=SuspectExemplars)
    pictures: Mapping[Filter, Mapping[int, Picture]] = field(default_factory=dict)


def draw_exemplars(
    reference: Reference,
    suspects: Sequence[Filter],
    images: ReferenceImages,
    classes: Mapping[int, str],
    *,
    show_progress: bool = False,
) -> DrawnExemplars:
    """What some filters look for: where they are most active, with a picture of each place.

    Args:
        reference: What keeps the exemplars.
        suspects: The filters.
        images: Where the pictures come from.
        classes: Names of the classes.
        show_progress: Show a progress bar while pictures are compared with those that were kept.
    """
    if not suspects:
        return DrawnExemplars()
    if reference.exemplar_table is None:
        return DrawnExemplars(SuspectExemplars(notes=(_NOT_KEPT,)))
    found, notes = _found(reference, suspects)
    shown = [one.only(range(min(_SHOWN, len(one)))) for one in found]
    places, about_places = _places(shown, images, show_progress=show_progress)
    cutter = _Cutter(images, places)
    boxes = [cutter.boxes(one) for one in shown]
    pictures = {one.filter: cutter.pictures(own) for one, own in zip(shown, boxes, strict=True)}
    records = [_record(*parts, classes) for parts in zip(found, shown, boxes, strict=True)]
    notes += about_places + ([_WHOLE.format(cutter.refused)] if cutter.refused else [])
    return DrawnExemplars(SuspectExemplars(tuple(records), tuple(notes)), pictures)


def _found(reference: Reference, suspects: Sequence[Filter]) -> tuple[list[Exemplars], list[str]]:
    """Those of the filters whose output could be seen, and a note on the others."""
    kept = {suspect: _exemplars(reference, suspect) for suspect in suspects}
    unseen = ", ".join(str(suspect) for suspect, exemplars in kept.items() if exemplars is None)
    found = [exemplars for exemplars in kept.values() if exemplars is not None]
    return found, [f"What these filters return could not be seen: {unseen}."] if unseen else []


def _exemplars(reference: Reference, suspect: Filter) -> Exemplars | None:
    try:
        return reference.exemplars(suspect)
    except InputError:
        return None


def _places(
    shown: Sequence[Exemplars], images: ReferenceImages, *, show_progress: bool
) -> tuple[dict[int, int], list[str]]:
    """Where among the images each exemplar is, and notes on those that are not."""
    numbers = {number for one in shown for number in one.images}
    places = images.positions(shown)
    changed = images.changed(shown, places, show_progress=show_progress)
    counts = {_NOT_THERE: len(numbers - places.keys()), _CHANGED: len(changed)}
    notes = [words.format(count, len(numbers)) for words, count in counts.items() if count]
    return {number: place for number, place in places.items() if number not in changed}, notes


class _Cutter:
    """Cuts pictures to what a filter sees of them.

    Args:
        images: Where the pictures come from.
        places: Positions of the exemplars, by their number.
    """

    def __init__(self, images: ReferenceImages, places: Mapping[int, int]) -> None:
        self.refused = ""
        self._images, self._places = images, places
        self._crops = PictureCrops(images.batches.model, lambda number: images.tensor(places[number]))
        self._seen: dict[int, Image.Image | None] = {}

    def boxes(self, exemplars: Exemplars) -> dict[int, _Box]:
        """What the filter sees of each picture that can be shown, by the number of its image."""
        numbers = [number for number in exemplars.images if self._picture(number) is not None]
        part = exemplars.only([exemplars.images.index(number) for number in numbers])
        try:
            regions = self._crops.boxes(part) if not self.refused else None
        except TraceError as error:
            self.refused, regions = str(error), None
        if regions is None:
            return {number: (0, 0, *_size(self._picture(number))) for number in numbers}
        return {number: (x[0], y[0], x[1] + 1, y[1] + 1) for number, (y, x) in zip(numbers, regions, strict=True)}

    def pictures(self, boxes: Mapping[int, _Box]) -> dict[int, Picture]:
        """What is inside of each box."""
        cut = {number: (self._picture(number), box) for number, box in boxes.items()}
        return {number: encode_crop(seen.crop(box)) for number, (seen, box) in cut.items() if seen is not None}

    def _picture(self, number: int) -> Image.Image | None:
        if number not in self._seen:
            place = self._places.get(number)
            self._seen[number] = None if place is None else self._images.seen(place)
        return self._seen[number]


def _size(picture: Image.Image | None) -> tuple[int, int]:
    return (0, 0) if picture is None else picture.size


def _record(
    whole: Exemplars, shown: Exemplars, boxes: Mapping[int, _Box], classes: Mapping[int, str]
) -> FilterExemplars:
    columns = zip(shown.images, shown.names, shown.labels, shown.activations, map(boxes.get, shown.images), strict=True)
    return FilterExemplars(
        filter=whole.filter,
        active=whole.active,
        kept=len(whole),
        name=whole.short_name(classes),
        classes=whole.class_shares()[:_CLASSES],
        images=tuple(ExemplarImage(*column) for column in columns),
    )
