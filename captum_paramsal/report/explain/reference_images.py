"""The images that a reference was taken on, found again."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

from captum_paramsal.reference import Exemplars, Reference
from captum_paramsal.sources import SeenSource, SourceBatches

if TYPE_CHECKING:
    from PIL import Image

_TOLERANCE = 1e-2
"""Between an activation that was kept and that of the picture at hand, as a share of the largest that was kept of its
filter: devices and sizes of batches round differently, and another picture is further away."""


@dataclass(frozen=True)
class ReferenceImages:
    """Images at hand, among which the exemplars of a reference are looked for.

    Attributes:
        batches: The images, for the model.
        same: Whether the reference was taken on these very images, so that its numbers are their positions. Otherwise
            they are looked up by name and class, and what the filters make of each is compared with what was kept.
    """

    batches: SourceBatches
    same: bool

    def positions(self, exemplars: Iterable[Exemplars]) -> dict[int, int]:
        """Where among the images each exemplar is, by its number; without those that are not there."""
        wanted = {
            number: (name, label)
            for one in exemplars
            for number, name, label in zip(one.images, one.names, one.labels, strict=True)
        }
        if self.same:
            return {number: number for number in wanted}
        entries = [(item.name, item.label) for item in self.batches.images.items]
        often, places = Counter(entries), {entry: place for place, entry in enumerate(entries)}
        return {number: places[entry] for number, entry in wanted.items() if entry[0] and often[entry] == 1}

    def changed(
        self, exemplars: Sequence[Exemplars], positions: Mapping[int, int], *, show_progress: bool = False
    ) -> set[int]:
        """Numbers of exemplars of which the filters now make something else than what was kept.

        Args:
            exemplars: Of each filter.
            positions: What :meth:`positions` returned.
            show_progress: Show a progress bar.
        """
        if self.same or not positions:
            return set()
        read = self.batches.at(sorted(set(positions.values())))
        now = Reference.fit(
            read.model,
            read,
            layers=list(dict.fromkeys(one.filter.layer for one in exemplars)),
            tail=None,
            exemplars=len(read.wanted),
            total=len(read.wanted),
            show_progress=show_progress,
        )
        changed = set()
        for one in exemplars:
            again = now.exemplars(one.filter)
            activations = dict(zip(again.images, again.activations, strict=True))
            allowed = _TOLERANCE * max(map(abs, one.activations))
            for number, kept in zip(one.images, one.activations, strict=True):
                # An image that can no longer be read has no activation.
                seen = activations.get(positions[number]) if number in positions else kept
                if seen is None or not abs(seen - kept) <= allowed:
                    changed.add(number)
        return changed

    def seen(self, position: int) -> Image.Image | None:
        """An image as people see it, as large as the model takes it; None where it cannot be shown."""
        images = self.batches.images
        small = images.picture(position)
        if small is None:
            return None
        if isinstance(images, SeenSource):
            return images.seen(position)
        from PIL import Image  # noqa: PLC0415

        height, width = self.tensor(position).shape[-2:]
        return Image.open(io.BytesIO(small.data)).resize((width, height))

    def tensor(self, position: int) -> Tensor:
        """One image as the model takes it, ``(C, H, W)``.

        Raises:
            SourceError: It cannot be read.
        """
        return next(iter(self.batches.at([position]).read())).inputs[0]
