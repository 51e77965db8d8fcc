"""What all reports are: facts about labelled images that are written to a folder, and read from it again."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import Any, ClassVar

from safetensors import SafetensorError
from torch import nn
from typing_extensions import Self, deprecated

from captum_paramsal.errors import ParamsalError, SourceError
from captum_paramsal.files import Fingerprint, as_json, replacing
from captum_paramsal.files.json_schema import schema_name
from captum_paramsal.files.sealed_json import digest_of, file_digest, require_whole_json, sealed_json
from captum_paramsal.files.tensor_file import written_as
from captum_paramsal.report.shared.codec import renamed_keys, to_json
from captum_paramsal.report.shared.folder import MANIFEST, PAGE, open_report_folder
from captum_paramsal.report.shared.front_page import refresh_front_page
from captum_paramsal.report.shared.manifest import Manifest, ManifestFile, now
from captum_paramsal.sources import Picture, Skipped
from captum_paramsal.versions import versions


@dataclass(frozen=True)
class About:
    """What the ingredients of a report are called, for people; all of it optional.

    Attributes:
        model: Name of the model.
        weights: Where its weights come from.
        images: Where the images come from.
        preprocessing: How they were prepared.
        reference: Where the reference comes from.
    """

    model: str = ""
    weights: str = ""
    images: str = ""
    preprocessing: str = ""
    reference: str = ""

    def head(self, model: nn.Module, fingerprint: Fingerprint) -> dict[str, Any]:
        """Versions, model and images, as every report has them in JSON."""
        name = self.model or type(model).__name__
        return {
            "versions": versions(),
            "model": {"name": name, "weights": self.weights, "fingerprint": fingerprint.short},
            "images": {"origin": self.images, "preprocessing": self.preprocessing},
        }


def class_name(classes: Mapping[int, str], number: int) -> str:
    """Name of a class, or "class 17" where it has none."""
    return classes.get(number) or f"class {number}"


@dataclass(frozen=True, kw_only=True)
class Report(ABC):
    """The base of all reports.

    A kind of report states its data in a subclass (``data.py``), which its page is made of, and in a subclass of that
    how it is written (``report.py``).

    Attributes:
        skipped: Files that were left out.
        classes: Names of the classes that occur, as far as known.
        context: Model, images, method, parameters and versions, as JSON has them.
        caveats: What a reader should know before believing a number.
        pictures: Pictures of images, by position or number; not saved as data.
        kind: Name of the kind, which is that of its verb.
        schema: Name of the kind in its JSON.
        version: Of the JSON that is written; all versions from 1 on are read.
        data_file: Name of the JSON file.
        files: What each file that it may write holds, in words, by its name.
        numbered: The same by patterns of names, where there may be any number of files.
        former_keys: What keys of older versions are called now.
        context_keys: Keys of the context.
    """

    kind: ClassVar[str]
    schema: ClassVar[str]
    version: ClassVar[int]
    data_file: ClassVar[str]
    files: ClassVar[Mapping[str, str]] = MappingProxyType({})
    numbered: ClassVar[Mapping[str, str]] = MappingProxyType({})
    former_keys: ClassVar[Mapping[str, str]] = MappingProxyType({})
    context_keys: ClassVar[tuple[str, ...]]

    skipped: tuple[Skipped, ...]
    classes: Mapping[int, str]
    context: Mapping[str, Any]
    caveats: tuple[str, ...] = ()
    pictures: Mapping[int, Picture] = field(default_factory=dict, compare=False, repr=False)

    @property
    @abstractmethod
    def image_count(self) -> int:
        """How many images were classified."""

    @property
    @abstractmethod
    def mistake_count(self) -> int:
        """How many of them the model got wrong."""

    @property
    def accuracy(self) -> float:
        """Share of the images that were classified correctly."""
        return 1 - self.mistake_count / self.image_count

    @property
    @deprecated("`remarks` of a report is now `caveats`; the old name goes with version 0.3.")
    def remarks(self) -> tuple[str, ...]:
        """The former name of ``caveats``."""
        return self.caveats

    def class_name(self, number: int) -> str:
        """Name of a class, or "class 17" where it has none."""
        return class_name(self.classes, number)

    def summary(self) -> dict[str, Any]:
        """The figures that come first."""
        return {
            "images": self.image_count,
            "mistakes": self.mistake_count,
            "accuracy": self.accuracy,
            "skipped": len(self.skipped),
        }

    @abstractmethod
    def facts(self) -> Mapping[str, Any]:
        """What this kind has to say, by key: dataclasses, or what JSON takes."""

    def to_dict(self) -> dict[str, Any]:
        """Everything that is saved as JSON: without pictures, and without what lies in files beside it."""
        content: dict[str, Any] = to_json(
            {
                "schema": self.schema,
                "schema_version": self.version,
                **self.context,
                "summary": self.summary(),
                "caveats": self.caveats,
                "classes": dict(sorted(self.classes.items())),
                **self.facts(),
                "skipped": self.skipped,
            }
        )
        return content

    @abstractmethod
    def contents(self) -> Mapping[str, str | bytes]:
        """What ``write`` writes beside the JSON, by name of the file; with the page."""

    def save_beside(self, folder: Path) -> None:  # noqa: B027 -- most kinds have nothing to save
        """Save what has a file format of its own into the folder, before the JSON that names it."""

    def write(self, out_dir: str | Path, *, command: Sequence[str] | None = None) -> Path:
        """Write data and page: all files at once, once everything is drawn; those of an earlier report go.

        After an error or Ctrl-C at any moment, the folder has the old files or the new ones, never some of each. After
        a power cut or SIGKILL just then it may have some of each, which :meth:`load` refuses, and writing again mends.

        Args:
            out_dir: The folder.
            command: What ``manifest.json`` names as the command that wrote it, word by word.

        Returns:
            Path of the page, ``report.html``.

        Raises:
            SourceError: The folder cannot be written to, or a report of another kind is there; or the front page of the
                folder above, if it has one, cannot.
        """
        folder = open_report_folder(out_dir, self.data_file)
        data, contents = self.to_dict(), self.contents()
        try:
            with TemporaryDirectory(dir=folder, prefix=".report.", suffix=".partial") as staging:
                self.save_beside(Path(staging))
                saved = {file.name: file for file in sorted(Path(staging).iterdir())}
                # So that a page of one report is never read with the numbers of another.
                data["files"] = {name: file_digest(file) for name, file in saved.items()}
                # The page comes first and the JSON last: where they agree, so do all files between them.
                texts = {PAGE: _bytes_of(contents[PAGE])} | {name: _bytes_of(text) for name, text in contents.items()}
                data["page"] = digest_of(texts[PAGE])
                written = {self.data_file: _bytes_of(sealed_json(as_json(data)))}
                texts[MANIFEST] = self._manifest({**written, **texts, **saved}, command).text.encode()
                names = [*texts, *saved, self.data_file]
                texts |= written
                earlier = [file.name for pattern in self.numbered for file in folder.glob(pattern)]
                stale = [folder / name for name in (*self.files, *earlier) if name not in names]
                with replacing(*(folder / name for name in names), without=stale) as partials:
                    for name, partial in zip(names, partials, strict=True):
                        if name in saved:
                            saved[name].replace(partial)
                        else:
                            partial.write_bytes(texts[name])
        except OSError as error:
            message = f"Expected to write into '{folder}', got {type(error).__name__}: {error}."
            raise SourceError(message) from error
        refresh_front_page(folder.resolve().parent)
        return folder / PAGE

    def _manifest(self, contents: Mapping[str, bytes | Path], command: Sequence[str] | None) -> Manifest:
        """What tells programs what these files are, which are given as bytes or by where they lie."""
        listed = (
            ManifestFile.of(name, content, self._about(name), self._schema_of(name, content))
            for name, content in contents.items()
        )
        return Manifest(
            kind=self.kind,
            data=self.data_file,
            page=PAGE,
            command=None if command is None else tuple(command),
            model=self.context["model"],
            other=self.context.get("other"),
            versions=self.context["versions"],
            written=now(),
            files=tuple(listed),
        )

    def _about(self, name: str) -> str:
        fitting = (words for pattern, words in self.numbered.items() if fnmatchcase(name, pattern))
        return self.files.get(name) or next(fitting, "")

    def _schema_of(self, name: str, content: bytes | Path) -> str | None:
        """Name of the schema of a file."""
        if name == self.data_file:
            return schema_name("reports", self.schema, self.version)
        if name.endswith(".csv"):
            return schema_name("tables", f"{self.schema}.{Path(name).stem}", self.version)
        kind = written_as(content) if isinstance(content, Path) else None
        return None if kind is None else schema_name("files", *kind)

    @classmethod
    @abstractmethod
    def from_dict(cls, content: Mapping[str, Any], folder: Path) -> Self:
        """Back from ``to_dict``, under the keys of now, and the files beside it.

        Raises:
            KeyError, TypeError, ValueError, AttributeError: Something is missing, or of another kind.
        """

    @classmethod
    def shared_fields(cls, content: Mapping[str, Any]) -> dict[str, Any]:
        """The fields that every kind has, back from ``to_dict``.

        Raises:
            KeyError, TypeError, ValueError: Something is missing, or of another kind.
        """
        return {
            "skipped": tuple(Skipped(skip["file"], skip["reason"]) for skip in content["skipped"]),
            "classes": {int(number): name for number, name in content["classes"].items()},
            "caveats": tuple(content["caveats"]),
            "context": {key: content[key] for key in cls.context_keys},
        }

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read what ``write`` wrote, with this version or an older one; pictures are in the page alone.

        Args:
            path: The folder, or its JSON file.

        Raises:
            SourceError: The file cannot be read, or is no report of this kind, or of a newer version, or the page or a
                file beside it is not the one it was written with, be it from another run or changed since.
        """
        file = Path(path) / cls.data_file if Path(path).is_dir() else Path(path)
        try:
            text = file.read_text(encoding="utf-8")
            content = json.loads(text)
            require_whole_json(text)
            schema, version = content["schema"], content["schema_version"]
            if schema == cls.schema and version in range(1, cls.version + 1):
                _require_files(file.parent, content.get("files", {}))
                _require_page(file.parent / PAGE, content.get("page"))
                known = content if version == cls.version else renamed_keys(content, cls.former_keys)
                return cls.from_dict(known, file.parent)
        except ParamsalError:
            raise
        except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError, SafetensorError) as error:
            message = f"Expected {cls.schema} at '{file}', got {type(error).__name__}: {error}."
            raise SourceError(message) from error
        message = (
            f"Expected {cls.schema} of version {cls.version} or before at '{file}', got {schema} of version {version}."
        )
        raise SourceError(message)


def _require_page(page: Path, digest: str | None) -> None:
    """Refuse a page that is not the one that the JSON was written with; there need not be any.

    Raises:
        ValueError: It is not.
        OSError: It cannot be read.
    """
    if digest is not None and page.exists() and file_digest(page) != digest:
        message = (
            f"a page {page.name!r} of another report beside it, as a killed run leaves it, or one that was changed "
            "since: write the report again, or take the page away"
        )
        raise ValueError(message)


def _require_files(folder: Path, digests: Mapping[str, str]) -> None:
    """Refuse files beside the JSON that are not those it was written with.

    Raises:
        ValueError: They are not.
        OSError: One is missing.
    """
    for name, digest in digests.items():
        if file_digest(folder / name) != digest:
            message = f"a file {name!r} beside it that is damaged, or that another report was written with"
            raise ValueError(message)


def _bytes_of(content: str | bytes) -> bytes:
    return content.encode() if isinstance(content, str) else content
