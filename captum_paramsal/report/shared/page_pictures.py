"""The pictures of a page, each in it once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from captum_paramsal.sources import Picture

SHOWN = 5
"""Mistakes that are shown with their neighbours, at most."""


class PagePictures:
    """The pictures of one page: each is written where it is asked for first, and every later place shows that one.

    Args:
        pictures: By position or number of their image.
        kind: What their ids begin with.
        tiny: Pixels of the width below which each pixel is to be seen.

    >>> photos = PagePictures({7: Picture(b"GIF", "image/gif", 2, 1)})
    >>> print(photos.drawn(7, "a cat"))
    <svg class="photo tiny" viewBox="0 0 2 1" role="img" aria-label="a cat"><image id="photo-7" href="data:image/gif;base64,R0lG" width="2" height="1"/></svg>
    >>> print(photos.drawn(7))
    <svg class="photo tiny" viewBox="0 0 2 1" aria-hidden="true"><use href="#photo-7"/></svg>
    """  # noqa: E501 -- what it writes is long

    def __init__(self, pictures: Mapping[int, Picture], kind: str = "photo", *, tiny: int = 100) -> None:
        self._pictures = pictures
        self._kind, self._tiny = kind, tiny
        self._placed: set[int] = set()

    def __contains__(self, number: int) -> bool:
        return number in self._pictures

    def drawn(self, number: int, words: str = "") -> Markup:
        """A picture as an ``<svg>`` as wide as its place.

        Args:
            number: Of its image.
            words: What a person who cannot see it should know; none where what lies over it says so.
        """
        picture = self._pictures[number]
        said = Markup('role="img" aria-label="{}"').format(words) if words else Markup('aria-hidden="true"')
        if number in self._placed:
            inside = Markup('<use href="#{}-{}"/>').format(self._kind, number)
        else:
            self._placed.add(number)
            inside = Markup('<image id="{}-{}" href="{}" width="{}" height="{}"/>').format(
                self._kind, number, picture.uri, picture.width, picture.height
            )
        tiny = " tiny" if picture.width < self._tiny else ""
        return Markup('<svg class="photo{}" viewBox="0 0 {} {}" {}>{}</svg>').format(
            tiny, picture.width, picture.height, said, inside
        )


@dataclass(frozen=True)
class NearTile:
    """A mistake in a row of similar ones.

    Attributes:
        number: Of its picture.
        label: What its true class is called.
        predicted: What its predicted class is called.
        similarity: To the first of the row; None for the first itself.
        link: Where the page says more about it; empty for nowhere.
        name: What it is called in words.
    """

    number: int
    label: str
    predicted: str
    similarity: float | None
    link: str
    name: str


NearRows = Sequence[Sequence[NearTile]]
"""Mistakes, each beside those that are most similar to it."""
