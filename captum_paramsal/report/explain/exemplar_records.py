"""What an explanation says of the images in which suspicious filters are most active."""

from __future__ import annotations

from dataclasses import dataclass, field

from captum_paramsal.filters import Filter
from captum_paramsal.reference import ClassShare
from captum_paramsal.report.shared.codec import INLINE


@dataclass(frozen=True)
class ExemplarImage:
    """An image of the reference in which a filter is among its most active.

    Attributes:
        number: In the reference.
        file: Its name; empty where the reference has none.
        label: Its class; -1 where the reference has none.
        activation: Maximum of the filter's output map.
        box: What the filter sees at that place: x1, y1, x2, y2 in pixels of what the model sees, the last ones
            excluded; None where the picture is not shown.
    """

    number: int
    file: str
    label: int
    activation: float
    box: tuple[int, int, int, int] | None = None


@dataclass(frozen=True)
class FilterExemplars:
    """What one filter looks for, by the images in which it is most active.

    Attributes:
        filter: The filter.
        active: Share of the reference's images with an activation above 0.
        kept: Exemplars that the reference keeps of it, and that the classes are counted over.
        name: What most of them show, such as "dog, 5 of 9"; None where chance explains it.
        classes: The most frequent classes among them.
        images: The first ones.
    """

    filter: Filter = field(metadata=INLINE)
    active: float
    kept: int
    name: str | None
    classes: tuple[ClassShare, ...]
    images: tuple[ExemplarImage, ...]


@dataclass(frozen=True)
class SuspectExemplars:
    """What the usual suspects look for.

    Attributes:
        filters: One entry for each of them whose output could be seen, the most frequent suspect first.
        notes: What is missing, and why, in sentences.
    """

    filters: tuple[FilterExemplars, ...] = ()
    notes: tuple[str, ...] = ()
