"""Files of tensors that are whole or not there, and that tell if a single bit of them is not as it was written."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from captum_paramsal.errors import ParamsalError


@dataclass(frozen=True)
class TensorFile:
    """A kind of safetensors file with tensors, a description in JSON, and a checksum over both.

    Attributes:
        kind: What it holds, in a word.
        format: Name of the format, written into the file.
        versions: Versions that are known; the last one is written.
        error: What is raised for a file that cannot be written or read.
    """

    kind: str
    format: str
    versions: tuple[int, ...]
    error: type[ParamsalError]

    def save(self, path: str | os.PathLike[str], tensors: Mapping[str, Tensor], content: Mapping[str, Any]) -> None:
        """Write a file; an existing one is replaced only when the new one is complete.

        Args:
            path: Where.
            tensors: What it holds.
            content: What JSON can hold beside them.

        Raises:
            ParamsalError: The file cannot be written; of this file's kind of error.
        """
        target = Path(path)
        partial = target.with_name(f"{target.name}.{os.getpid()}.partial")
        plain = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
        text = json.dumps({"format": self.format, "version": self.versions[-1], **content})
        try:
            save_file(plain, partial, {self.kind: text, "checksum": _checksum(text, plain)})
            # safetensors makes files that only their owner may read.
            share(partial)
            partial.replace(target)
        except (OSError, SafetensorError) as error:
            partial.unlink(missing_ok=True)
            message = f"Expected a place to write the {self.kind} to, but {str(target)!r} cannot be written: {error}."
            raise self.error(message) from error

    def load(self, path: str | os.PathLike[str]) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Read a file, whole or not at all.

        Returns:
            Tensors and content.

        Raises:
            ParamsalError: No such file, damaged, truncated, or not of a version that is known; of this kind of error.
        """
        try:
            with safe_open(path, framework="pt") as file:
                metadata = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 -- not a dict
        except (OSError, SafetensorError) as error:
            message = f"Expected a {self.kind} file, but {str(path)!r} cannot be read: {error}."
            raise self.error(message) from error
        content = self._content(metadata, path)
        if metadata.get("checksum") != _checksum(metadata[self.kind], tensors):
            message = f"Expected a whole {self.kind} file, but {str(path)!r} does not match its checksum."
            raise self.error(message)
        return tensors, content

    def _content(self, metadata: Mapping[str, str], path: str | os.PathLike[str]) -> dict[str, Any]:
        try:
            content: dict[str, Any] = json.loads(metadata[self.kind])
            found = content["format"], content["version"]
        except (KeyError, TypeError, ValueError) as error:
            message = f"Expected a {self.kind} file, got {str(path)!r} without a description of one: {error}."
            raise self.error(message) from error
        if found[0] != self.format or found[1] not in self.versions:
            message = (
                f"Expected a file of format {self.format!r} in version {' or '.join(map(str, self.versions))}, got "
                f"{found[0]!r} in version {found[1]!r} in {str(path)!r}."
            )
            raise self.error(message)
        return content


def share(path: Path) -> None:
    """Let others read and write a file as the process's umask allows."""
    mask = os.umask(0)
    os.umask(mask)
    path.chmod(0o666 & ~mask)


def _checksum(text: str, tensors: Mapping[str, Tensor]) -> str:
    digest = blake2b(text.encode(), digest_size=16)
    for name in sorted(tensors):
        value = tensors[name]
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        if value.numel():
            digest.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
