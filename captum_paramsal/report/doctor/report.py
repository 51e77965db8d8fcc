"""What a doctor found on a set of images, as a value that can be saved, loaded and shown."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from captum_paramsal.doctor import Diagnosis
from captum_paramsal.errors import ParamsalError, SourceError
from captum_paramsal.files import as_csv, as_json, open_folder, write_atomically
from captum_paramsal.repair import Patch
from captum_paramsal.report.doctor.findings import EvidencePictures
from captum_paramsal.report.doctor.page import render
from captum_paramsal.report.doctor.records import DiagnosedGroup, DiagnosedMistake
from captum_paramsal.report.doctor.treatment_records import TreatmentResult
from captum_paramsal.report.shared.report import class_name
from captum_paramsal.sources import Picture, Skipped

_SCHEMA = "captum_paramsal.checkup"
_VERSION = 1
_DATA, _DIAGNOSIS, _PATCH = "doctor.json", "diagnosis.safetensors", "treated.patch.safetensors"
_CONTEXT = ("versions", "model", "images", "layer", "method", "usual", "parameters")
_ABOUT_MISTAKE = (
    "file",
    "label",
    "label_name",
    "label_confidence",
    "prediction",
    "prediction_name",
    "prediction_confidence",
    "background",
    "background_area",
)
_ABOUT_CHANNEL = ("channel", "correlation", "share", "usual", "low", "high", "p_value", "for_prediction", "for_label")
_COLUMNS = ("schema_version", *_ABOUT_MISTAKE, "rank", *_ABOUT_CHANNEL)


@dataclass(frozen=True)
class DoctorReport:
    """Every mistake of a model on a set of images, and the channels that misled it.

    Attributes:
        images: Images that were classified.
        mistakes: Those that were classified wrongly, in the order of the images.
        skipped: Files that were left out.
        diagnosis: Which channels each class relies on.
        wrong: The mistakes, together.
        right: Correctly classified images, to compare them with.
        separation: How well two numbers tell mistakes from these: the chance that a mistake's is the larger one. By
            name, "deviation" and "doubt", 1 - the probability of the prediction; empty where there are too few.
        classes: Names of the classes that occur, as far as known.
        remarks: What a reader should know before believing a number.
        context: Model, layer, method, images and versions, as JSON has them.
        treatment: What a treatment did to these images; None where none was asked for.
        patch: What the treatment changed in the model, to be put on the untreated one.
        treated: The treated model; not saved as data.
        pictures: Picture of each image that has one, by position; not saved as data.
        evidence: Maps of the mistakes that have a card, by position; not saved as data.
    """

    images: int
    mistakes: tuple[DiagnosedMistake, ...]
    skipped: tuple[Skipped, ...]
    diagnosis: Diagnosis
    wrong: DiagnosedGroup
    right: DiagnosedGroup
    separation: Mapping[str, float]
    classes: Mapping[int, str]
    remarks: tuple[str, ...]
    context: Mapping[str, Any]
    treatment: TreatmentResult | None = None
    patch: Patch | None = field(default=None, compare=False, repr=False)
    treated: nn.Module | None = field(default=None, compare=False, repr=False)
    pictures: Mapping[int, Picture] = field(default_factory=dict, compare=False, repr=False)
    evidence: Mapping[int, EvidencePictures] = field(default_factory=dict, compare=False, repr=False)

    @property
    def accuracy(self) -> float:
        """Share of the images that were classified correctly."""
        return 1 - len(self.mistakes) / self.images

    def class_name(self, number: int) -> str:
        """Name of a class, or "class 17" where it has none."""
        return class_name(self.classes, number)

    def to_dict(self) -> dict[str, Any]:
        """Everything but the pictures, the diagnosis and the patch, as JSON takes it."""
        return {
            "schema": _SCHEMA,
            "schema_version": _VERSION,
            **self.context,
            "summary": {
                "images": self.images,
                "mistakes": len(self.mistakes),
                "accuracy": self.accuracy,
                "skipped": len(self.skipped),
            },
            "remarks": list(self.remarks),
            "classes": {str(number): name for number, name in sorted(self.classes.items())},
            "diagnosis": _DIAGNOSIS,
            "groups": {"correct": self.right.to_dict(), "incorrect": self.wrong.to_dict()},
            "separation": dict(self.separation),
            "treatment": None if self.treatment is None else self.treatment.to_dict(),
            "mistakes": [mistake.to_dict(self.classes) for mistake in self.mistakes],
            "skipped": [{"file": skip.name, "reason": skip.reason} for skip in self.skipped],
        }

    def to_table(self) -> list[dict[str, Any]]:
        """One row per mistake and channel, as ``channels.csv`` has them."""
        rows = []
        for mistake in self.mistakes:
            content = mistake.to_dict(self.classes)
            about = {"schema_version": _VERSION, **{key: content[key] for key in _ABOUT_MISTAKE}}
            rows += [{**about, "rank": rank, **channel} for rank, channel in enumerate(content["channels"], 1)]
        return rows

    def write(self, out_dir: str | Path) -> Path:
        """Write ``diagnosis.safetensors``, ``doctor.json``, ``channels.csv`` and ``report.html``, each whole or not.

        Of a treatment, ``treated.patch.safetensors`` too.

        Returns:
            Path of the report.

        Raises:
            SourceError: The folder cannot be written to.
            DiagnosisFileError, PatchError: These files cannot.
        """
        folder = open_folder(out_dir)
        # Before the data that names them.
        self.diagnosis.save(folder / _DIAGNOSIS)
        if self.patch is not None:
            self.patch.save(folder / _PATCH)
        contents: dict[str, str | bytes] = {
            _DATA: as_json(self.to_dict()),
            "channels.csv": as_csv(self.to_table(), _COLUMNS),
            "report.html": render(self),
        }
        write_atomically(folder, contents)
        return folder / "report.html"

    @classmethod
    def load(cls, path: str | Path) -> DoctorReport:
        """Read what ``write`` wrote; pictures are in the HTML report alone.

        Args:
            path: The folder, or its ``doctor.json``.

        Raises:
            SourceError: No such file, or not a checkup of a version that is known.
            DiagnosisFileError, PatchError: The files beside it are missing or damaged.
        """
        file = Path(path) / _DATA if Path(path).is_dir() else Path(path)
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
            schema, version = content["schema"], content["schema_version"]
            if (schema, version) == (_SCHEMA, _VERSION):
                return cls._from_dict(content, file.parent)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            if isinstance(error, ParamsalError):
                raise
            message = f"Expected a checkup at '{file}', got {type(error).__name__}: {error}."
            raise SourceError(message) from error
        message = f"Expected {_SCHEMA} of version {_VERSION} at '{file}', got {schema} of version {version}."
        raise SourceError(message)

    @classmethod
    def _from_dict(cls, content: Mapping[str, Any], folder: Path) -> DoctorReport:
        treatment = content["treatment"]
        return cls(
            images=content["summary"]["images"],
            mistakes=tuple(DiagnosedMistake.from_dict(mistake) for mistake in content["mistakes"]),
            skipped=tuple(Skipped(skip["file"], skip["reason"]) for skip in content["skipped"]),
            diagnosis=Diagnosis.load(folder / content["diagnosis"]),
            wrong=DiagnosedGroup.from_dict(content["groups"]["incorrect"]),
            right=DiagnosedGroup.from_dict(content["groups"]["correct"]),
            separation=content["separation"],
            classes={int(number): name for number, name in content["classes"].items()},
            remarks=tuple(content["remarks"]),
            context={key: content[key] for key in _CONTEXT},
            treatment=None if treatment is None else TreatmentResult.from_dict(treatment),
            patch=None if treatment is None else Patch.load(folder / _PATCH),
        )
