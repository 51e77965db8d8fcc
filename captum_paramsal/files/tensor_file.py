"""Files of tensors that are whole or not there, and that tell if a single bit of them is not as it was written."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from captum_paramsal.files.atomic import replacing, require_no_folder
from captum_paramsal.files.file_kind import _T, FileKind
from captum_paramsal.files.old_layouts import upgraded

_KEY = "captum_paramsal"
"""The only one in the metadata: the library writes several in random order, and no two files would be equal."""


class TensorFile(FileKind):
    """A kind of safetensors file with tensors, a description in JSON, and a checksum over both."""

    def save(self, path: str | os.PathLike[str], tensors: Mapping[str, Tensor], content: Mapping[str, Any]) -> None:
        """Write a file; an existing one is replaced only when the new one is complete.

        Args:
            path: Where.
            tensors: What it holds.
            content: What JSON can hold beside them.

        Raises:
            ParamsalError: The file cannot be written; of this kind's error.
        """
        try:
            write_tensors(path, tensors, {_KEY: self.described(content, tensors)})
        except OSError as error:
            raise self.unwritable(path, error) from error

    def is_in(self, metadata: Mapping[str, str]) -> bool:
        """Whether the metadata of a safetensors file say that it is one of this kind."""
        return f'"{self.format}"' in metadata.get(_KEY, "")

    def load(self, path: str | os.PathLike[str], build: Callable[[dict[str, Tensor], dict[str, Any]], _T]) -> _T:
        """Read a file, whole or not at all.

        Args:
            path: Where.
            build: Makes the value of the tensors and the content.

        Raises:
            ParamsalError: No such file, damaged, of another kind, of an unknown version; of this kind's error.
        """
        try:
            require_no_folder(path)
            with safe_open(path, framework="pt") as file:
                metadata = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 -- not a dict
        except (OSError, SafetensorError) as error:
            raise self.unreadable(path, error) from error
        content = self.content_of(metadata.get(_KEY) or upgraded(metadata, tensors), tensors, path)
        return self.made(lambda: build(tensors, content), path)


def written_as(path: str | os.PathLike[str]) -> tuple[str, int] | None:
    """Format and version that a file of tensors names; None where it names none.

    Raises:
        OSError: It cannot be read.
    """
    try:
        with safe_open(path, framework="pt") as file:
            described = json.loads((file.metadata() or {}).get(_KEY, "{}"))
    except (SafetensorError, ValueError):
        return None
    return (described["format"], described["version"]) if "format" in described else None


def write_tensors(
    path: str | os.PathLike[str], tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None
) -> None:
    """Write a safetensors file, whole or not at all.

    Raises:
        OSError: The file cannot be written.
    """
    # The format refuses tensors that share their memory, as tied weights do.
    plain = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    try:
        with replacing(Path(path)) as [partial]:
            save_file(plain, partial, None if metadata is None else dict(metadata))
    except SafetensorError as error:
        raise OSError(str(error)) from error
