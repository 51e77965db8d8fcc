"""What a kind of file is: a name, versions, an error, and a checksum over all that it holds."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, TypeVar

import torch
from torch import Tensor

from captum_paramsal.errors import ParamsalError
from captum_paramsal.files.contents import NoContent

_T = TypeVar("_T")


@dataclass(frozen=True)
class FileKind:
    """A kind of file that says in itself what it is.

    Attributes:
        name: What it holds, in a word or two.
        format: Name of the format, written into the file.
        versions: Versions that are known; the last one is written.
        error: What is raised for a file that cannot be written or read.
        content: What its JSON has beside format, version and checksum.
    """

    name: str
    format: str
    versions: tuple[int, ...]
    error: type[ParamsalError]
    content: type[Any] = NoContent

    def described(self, content: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str:
        """JSON of the content with format, version and a checksum over it and the tensors."""
        return json.dumps(sealed({"format": self.format, "version": self.versions[-1], **content}, tensors))

    def content_of(self, text: str, tensors: Mapping[str, Tensor], path: str | os.PathLike[str]) -> dict[str, Any]:
        """A file's description, once it is sure that it is one of this kind, as it was written.

        Raises:
            ParamsalError: Another kind, an unknown version, or a checksum that does not match; of this kind's error.
        """
        try:
            description = json.loads(text)
        except ValueError as error:
            raise self.unreadable(path, error) from error
        named = description if isinstance(description, dict) else {}
        written, version = named.get("format"), named.get("version")
        if written != self.format or version not in self.versions:
            known = " or ".join(map(str, self.versions))
            got = f"{written!r} in version {version!r}" if written else "one that names no format"
            message = f"Expected a {self.name} file, {self.format!r} in version {known}, got {got} in {str(path)!r}."
            raise self.error(message)
        # The text, since a number with another last digit may still be read as the same.
        if json.dumps(sealed(named, tensors)) != text:
            message = f"Expected a whole {self.name} file, but {str(path)!r} does not match its checksum."
            raise self.error(message)
        return named

    def made(self, build: Callable[[], _T], path: str | os.PathLike[str]) -> _T:
        """What is built of a file's content.

        Raises:
            ParamsalError: A part of the content is missing, or of another type; of this kind's error.
        """
        try:
            return build()
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            message = f"Expected a {self.name} file, got {str(path)!r} without a part of one: {error}."
            raise self.error(message) from error

    def unreadable(self, path: str | os.PathLike[str], error: Exception) -> ParamsalError:
        """The error for a file that is missing, or cut off."""
        return self.error(f"Expected a {self.name} file, but {str(path)!r} cannot be read: {error}.")

    def unwritable(self, path: str | os.PathLike[str], error: Exception) -> ParamsalError:
        """The error for a place where no file can be written."""
        return self.error(
            f"Expected a place to write the {self.name} to, but {str(path)!r} cannot be written: {error}."
        )


def sealed(description: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """A description with a checksum over itself and the tensors that it describes."""
    open_description = {name: value for name, value in description.items() if name != "checksum"}
    return {**open_description, "checksum": checksum(json.dumps(open_description), tensors)}


def checksum(text: str, tensors: Mapping[str, Tensor]) -> str:
    """32 hexadecimal digits of BLAKE2b over a text, and over name, type, shape and bytes of tensors."""
    digest = blake2b(text.encode(), digest_size=16)
    for name in sorted(tensors):
        value = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        if value.numel():
            digest.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
