"""``manifest.json``: what lies in the folder of a report, for programs."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from hashlib import sha256
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeAlias

from captum_paramsal.errors import SourceError
from captum_paramsal.files import as_json
from captum_paramsal.files.sealed_json import require_whole_json, sealed_json
from captum_paramsal.report.shared.codec import from_json, to_json
from captum_paramsal.report.shared.folder import MANIFEST

FileRole: TypeAlias = Literal["data", "table", "tensors", "patch", "figure", "page", "other"]
_TYPES: Mapping[str, tuple[FileRole, str]] = {
    ".html": ("page", "text/html"),
    ".json": ("data", "application/json"),
    ".csv": ("table", "text/csv"),
    ".png": ("figure", "image/png"),
    ".patch.safetensors": ("patch", "application/octet-stream"),
    ".safetensors": ("tensors", "application/octet-stream"),
}
"""Role and media type by the end of a name, the first that fits."""
_OTHER: tuple[FileRole, str] = ("other", "application/octet-stream")


@dataclass(frozen=True)
class ManifestFile:
    """One file of a report.

    Attributes:
        path: Relative to the folder of the manifest.
        role: "data", all numbers of the page; "table", some of them row by row; "tensors", what is too large for
            either; "patch", a change of the model's weights; "figure"; "page", the report for people; or
            "other".
        about: What it holds, in words.
        media_type: Such as "text/csv".
        size: In bytes.
        sha256: Of its bytes, 64 hexadecimal digits.
        schema: Name of the schema of its content, or of the description in a file of tensors; None where there is none.
    """

    path: str
    role: FileRole
    about: str
    media_type: str
    size: int
    sha256: str
    schema: str | None = None

    @classmethod
    def of(cls, path: str, content: bytes | Path, about: str = "", schema: str | None = None) -> ManifestFile:
        """A file by its bytes, or by the place where it lies now.

        Raises:
            OSError: It cannot be read.

        >>> ManifestFile.of("a.csv", b"1,2").role
        'table'
        """
        role, media_type = next((known for end, known in _TYPES.items() if path.endswith(end)), _OTHER)
        return cls(path, role, about, media_type, *_size_and_digest(content), schema)


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What lies in the folder of a report, where it comes from, and which file is which.

    Attributes:
        kind: Kind of the report, which is the name of its function in :mod:`captum_paramsal.report`.
        data: Path of the file with all numbers.
        page: Path of the report for people.
        command: The command that wrote it, word by word; None for a program in Python.
        model: Name, weights and fingerprint of the model.
        other: Those of the second model, of reports on two.
        versions: Of the package, Captum and PyTorch.
        written: When, in UTC, as ISO 8601 has it; what the environment variable ``SOURCE_DATE_EPOCH`` says, if it is
            set.
        files: Every file of the report but this one.
    """

    schema: ClassVar[str] = "captum_paramsal.manifest"
    version: ClassVar[int] = 1

    kind: str
    data: str
    page: str
    command: tuple[str, ...] | None
    model: Mapping[str, str]
    other: Mapping[str, str] | None = None
    versions: Mapping[str, str]
    written: str
    files: tuple[ManifestFile, ...]

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        content: dict[str, Any] = to_json(self)
        return {"schema": self.schema, "schema_version": self.version, **content}

    @property
    def text(self) -> str:
        """What the file holds, with a checksum."""
        return sealed_json(as_json(self.to_dict()))

    def with_role(self, role: FileRole) -> list[ManifestFile]:
        """The files of one role."""
        return [file for file in self.files if file.role == role]

    def rewritten(self, contents: Mapping[str, bytes]) -> Manifest:
        """The manifest once some of the files have another content."""
        changed = {
            file.path: ManifestFile.of(file.path, contents[file.path], file.about, file.schema)
            for file in self.files
            if file.path in contents
        }
        return replace(self, files=tuple(changed.get(file.path, file) for file in self.files))

    @classmethod
    def load(cls, folder: str | Path) -> Manifest:
        """Read the manifest of a folder.

        Raises:
            SourceError: There is none, or it is damaged, of another program, or of a newer version.
        """
        file = Path(folder) / MANIFEST
        try:
            text = file.read_text(encoding="utf-8")
            content = json.loads(text)
            require_whole_json(text)
            schema, version = content["schema"], content["schema_version"]
            if schema == cls.schema and version in range(1, cls.version + 1):
                return from_json(content, cls)
        except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
            message = f"Expected {cls.schema} at '{file}', got {type(error).__name__}: {error}."
            raise SourceError(message) from error
        message = f"Expected {cls.schema} of version {cls.version} or before at '{file}', got {schema} of {version}."
        raise SourceError(message)


def now() -> str:
    """The time in UTC, or the one that ``SOURCE_DATE_EPOCH`` names, by which equal reports have equal bytes.

    Raises:
        SourceError: It names none.
    """
    given = os.environ.get("SOURCE_DATE_EPOCH")
    try:
        seconds = float(given) if given else time.time()
        return datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="seconds")
    except (ValueError, OverflowError, OSError) as error:
        message = f"Expected `SOURCE_DATE_EPOCH` to be seconds since 1970, got {given!r}."
        raise SourceError(message) from error


def _size_and_digest(content: bytes | Path) -> tuple[int, str]:
    if isinstance(content, bytes):
        return len(content), sha256(content).hexdigest()
    digest = sha256()
    with content.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return content.stat().st_size, digest.hexdigest()
