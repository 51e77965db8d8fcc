"""Work in pieces on disk: shared between processes, and not done again."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm.auto import tqdm

from captum_paramsal.files import open_folder
from captum_paramsal.files.kinds import PIECE
from captum_paramsal.reference.data_batches import LoaderItem, batch_digest
from captum_paramsal.reference.process_group import ProcessGroup


class Pieces:
    """A folder with what was computed for some images at a time.

    A piece's name has a digest of all that it depends on, so that a run with other settings, images or weights makes
    pieces of its own, and a run that was stopped goes on with those that are there.

    Args:
        folder: Made if need be; None to keep nothing.
        identity: What all pieces depend on.
        group: Processes that share the work; each makes every ``size``-th piece.
        show_progress: Show progress bars, in the first process.

    Raises:
        SourceError: The folder cannot be written to.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str] | None,
        identity: Mapping[str, Any],
        group: ProcessGroup,
        *,
        show_progress: bool = False,
    ) -> None:
        self.folder = None if folder is None else open_folder(Path(folder))
        self.group = group
        self._identity = dict(identity)
        self._shown = group.shows(show_progress)

    def depending_on(self, **facts: Any) -> Pieces:
        """The same folder, for pieces that depend on more."""
        return Pieces(self.folder, {**self._identity, **facts}, self.group, show_progress=self._shown)

    def joined(
        self,
        name: str,
        places: Sequence[int],
        size: int,
        make: Callable[[Sequence[int]], Mapping[str, Tensor]],
        **facts: Any,
    ) -> dict[str, Tensor]:
        """What is made of some images, so many at a time, in their order.

        The cut into pieces does not depend on the number of processes, and all get the same pieces, so all runs of the
        same work end with the same bits.

        Args:
            name: Of the work, for files and the progress bar.
            places: Of the images.
            size: Images in a piece.
            make: Makes tensors, with rows in the order of these images, of some of the places.
            facts: What the result depends on besides.

        Returns:
            The tensors, joined along their first dimension; nothing for no image.

        Raises:
            CheckpointError: A piece that cannot be written, or that is damaged.
            GroupError: Another process failed or is gone.
        """
        parts = [list(places[start : start + size]) for start in range(0, len(places), size)]
        own = tqdm(self.group.own(parts), desc=name, unit="piece", disable=not self._shown)

        def piece(part: Sequence[int]) -> dict[str, Tensor]:
            return self.kept(name, part, lambda: make(part), **facts)

        rows = list(self.group.in_order(own, piece, f"work for {name}"))
        return {key: torch.cat([row[key] for row in rows]) for key in rows[0]} if rows else {}

    def kept(
        self, name: str, places: Sequence[int], make: Callable[[], Mapping[str, Tensor]], **facts: Any
    ) -> dict[str, Tensor]:
        """What was made before, or is made now and kept.

        Args:
            name: Of the work.
            places: Of the images.
            make: Makes tensors.
            facts: What they depend on besides.

        Raises:
            CheckpointError: A piece that cannot be written, or that is damaged.
        """
        if self.folder is None:
            return dict(make())
        file = self.folder / self._file_name(name, places, facts)
        if not file.exists():
            PIECE.save(file, dict(make()), {"name": name, "places": list(places)})
        return PIECE.load(file, lambda tensors, _: tensors)

    def kept_batch(
        self, name: str, numbers: Sequence[int], batch: LoaderItem, make: Callable[[], Mapping[str, Tensor]]
    ) -> dict[str, Tensor]:
        """As :meth:`kept`, for a batch that is known by its content."""
        return self.kept(name, numbers, make, batch=None if self.folder is None else batch_digest(batch, ""))

    def _file_name(self, name: str, part: Sequence[int], facts: Mapping[str, Any]) -> str:
        described = json.dumps([self._identity, name, facts, list(part)], sort_keys=True)
        digest = blake2b(described.encode(), digest_size=10).hexdigest()
        return f"{re.sub('[^a-z]+', '_', name.lower())}-{part[0]:06d}-{digest}.safetensors"
