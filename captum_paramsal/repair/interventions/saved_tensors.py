"""Results that are tensors alone: written to a file and read again in one way."""

from __future__ import annotations

import os
from dataclasses import fields
from typing import Any, ClassVar

from typing_extensions import Self

from captum_paramsal.files.tensor_file import TensorFile
from captum_paramsal.summary import Summarized


class SavedTensors(Summarized):
    """A dataclass whose fields are all tensors, with ``save`` and ``load``; a subclass names its kind of file."""

    _kind: ClassVar[TensorFile]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a safetensors file; an existing one is replaced only when the new one is complete.

        Raises:
            InterventionError: ``path`` cannot be written.
        """
        self._kind.save(path, {name: getattr(self, name) for name in self._names()}, {})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read what was saved, whole or not at all.

        Raises:
            InterventionError: ``path`` cannot be read, is damaged, or is not such a file of a version that is known.
        """
        return cls._kind.load(path, lambda tensors, _: cls(**{name: tensors[name] for name in cls._names()}))

    @classmethod
    def _names(cls) -> list[str]:
        described: Any = cls
        return [field.name for field in fields(described)]
