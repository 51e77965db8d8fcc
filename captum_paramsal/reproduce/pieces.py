"""The work for a figure in pieces on disk: shared between processes, and not done again."""

from __future__ import annotations

import json
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
from captum_paramsal.reference import ProcessGroup


class Pieces:
    """A folder with what was computed for some images at a time.

    A piece's name has a digest of all that it depends on, so that a run with other settings, images or weights makes
    pieces of its own, and a run that was stopped goes on with those that are there.

    Args:
        folder: Made if need be.
        identity: What all pieces depend on.
        group: Processes that share the work; each makes every ``size``-th piece.
        show_progress: Show progress bars, in the first process.

    Raises:
        SourceError: The folder cannot be written to.
    """

    def __init__(
        self, folder: Path, identity: Mapping[str, Any], group: ProcessGroup, *, show_progress: bool = False
    ) -> None:
        self.folder = open_folder(folder)
        self.group = group
        self._identity = dict(identity)
        self._shown = show_progress and group.rank == 0

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

        The cut into pieces does not depend on the number of processes, and every process reads what is joined from
        disk, so all runs of the same work end with the same bits.

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
        files = [self._file(name, part, facts) for part in parts]
        ours = list(zip(parts, files, strict=True))[self.group.rank :: self.group.size]
        with self.group.finishing(f"work for {name}"):
            for part, file in tqdm(ours, desc=name, unit="piece", disable=not self._shown):
                if not file.exists():
                    PIECE.save(file, dict(make(part)), {"name": name, "places": part})
        rows = [PIECE.load(file, lambda tensors, _: tensors) for file in files]
        # No process goes on, and makes what others take for finished, before all have read.
        self.group.gather(None)
        return {key: torch.cat([row[key] for row in rows]) for key in rows[0]} if rows else {}

    def _file(self, name: str, part: Sequence[int], facts: Mapping[str, Any]) -> Path:
        described = json.dumps([self._identity, name, facts, part], sort_keys=True)
        digest = blake2b(described.encode(), digest_size=10).hexdigest()
        return self.folder / f"{re.sub('[^a-z]+', '_', name.lower())}-{part[0]:06d}-{digest}.safetensors"
