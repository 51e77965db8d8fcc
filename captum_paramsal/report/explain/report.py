"""What an explanation found, as a value that can be saved, loaded and shown."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from captum_paramsal.errors import SourceError
from captum_paramsal.files import as_csv, as_json, open_folder, write_atomically
from captum_paramsal.filters import FilterIndex
from captum_paramsal.report.explain.calibration import Calibration
from captum_paramsal.report.explain.data import ImageGroup, Mistake
from captum_paramsal.report.explain.neuron_figures import NeuronFigures
from captum_paramsal.report.explain.page import render
from captum_paramsal.report.explain.tail_summary import TailSummary
from captum_paramsal.report.explain.trace_maps import MapPair
from captum_paramsal.report.explain.trace_records import Tracing
from captum_paramsal.report.shared.report import class_name
from captum_paramsal.sources import Picture, Skipped

_SCHEMA = "captum_paramsal.explanation"
_VERSION = 3
_KNOWN = (1, 2, 3)
_PIXELS = "pixels.safetensors"


@dataclass(frozen=True)
class Explanation:
    """Every mistake of a model on a set of images, and the filters behind it.

    Attributes:
        images: Images that were classified.
        mistakes: Those that were classified wrongly, in the order of the images.
        skipped: Files that were left out.
        filters: The filters that were scored, F of them.
        correct: Correctly classified images that were scored for comparison.
        incorrect: The mistakes, together.
        classes: Names of the classes that occur, as far as known.
        places: Where on the horizontal axis of a profile the points of each mistake's ``curve`` lie.
        context: Model, method, reference, parameters and versions, as JSON has them.
        dead: Columns of filters that never varied over the reference, or have no tail there: they have no score of
            their own.
        tails: How well the tails fit; None for a method without.
        calibration: Whether the p-values are what they say; None for a method without.
        tracing: How mistakes were traced back to pixels, or why they could not be; None where nobody asked for it.
        pixel_gradients: Signed gradient with respect to the input of each mistake whose map was kept, by position.
        pictures: Picture of each mistake that has one, by position; not saved as data.
        maps: Picture of the pixels behind each mistake that has one, by position; not saved as data.
        trace_maps: Traces over their picture of each mistake that has one, by position; not saved as data.
        neurons: Figures of the neurons behind the surest mistakes, by position; not saved as data.
    """

    images: int
    mistakes: tuple[Mistake, ...]
    skipped: tuple[Skipped, ...]
    filters: FilterIndex
    correct: ImageGroup
    incorrect: ImageGroup
    classes: Mapping[int, str]
    places: tuple[float, ...]
    context: Mapping[str, Any]
    dead: tuple[int, ...] = ()
    tails: TailSummary | None = None
    calibration: Calibration | None = None
    tracing: Tracing | None = None
    pixel_gradients: Mapping[int, Tensor] = field(default_factory=dict, compare=False, repr=False)
    pictures: Mapping[int, Picture] = field(default_factory=dict, compare=False, repr=False)
    maps: Mapping[int, Picture] = field(default_factory=dict, compare=False, repr=False)
    trace_maps: Mapping[int, MapPair] = field(default_factory=dict, compare=False, repr=False)
    neurons: Mapping[int, NeuronFigures] = field(default_factory=dict, compare=False, repr=False)

    @property
    def accuracy(self) -> float:
        """Share of the images that were classified correctly."""
        return 1 - len(self.mistakes) / self.images

    def class_name(self, number: int) -> str:
        """Name of a class, or "class 17" where it has none."""
        return class_name(self.classes, number)

    def to_dict(self) -> dict[str, Any]:
        """Everything but the pictures and the pixel gradients, as JSON takes it."""
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
            "classes": {str(number): name for number, name in sorted(self.classes.items())},
            "layers": [
                {"name": name, "filters": count, "parts": list(self.filters.parts.get(name, ()))}
                for name, count in self.filters.counts.items()
            ],
            "tails": None if self.tails is None else self.tails.to_dict(),
            "calibration": None if self.calibration is None else self.calibration.to_dict(),
            "traces": None if self.tracing is None else self.tracing.to_dict(),
            "pixels": _PIXELS if self.pixel_gradients else None,
            "groups": {"correct": self.correct.to_dict(), "incorrect": self.incorrect.to_dict()},
            "dead": list(self.dead),
            "places": list(self.places),
            "mistakes": [mistake.to_dict(self.classes) for mistake in self.mistakes],
            "skipped": [{"file": skip.name, "reason": skip.reason} for skip in self.skipped],
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Explanation:
        """Back from ``to_dict``, without pictures; also from that of versions 1 and 2.

        Raises:
            KeyError, TypeError: Something is missing, or of another kind.
        """
        layers = content["layers"]
        tails, calibration, tracing = (content.get(name) for name in ("tails", "calibration", "traces"))
        return cls(
            images=content["summary"]["images"],
            mistakes=tuple(Mistake.from_dict(mistake) for mistake in content["mistakes"]),
            skipped=tuple(Skipped(skip["file"], skip["reason"]) for skip in content["skipped"]),
            filters=FilterIndex(
                {layer["name"]: layer["filters"] for layer in layers},
                {layer["name"]: layer["parts"] for layer in layers if layer["parts"]},
            ),
            correct=ImageGroup.from_dict(content["groups"]["correct"]),
            incorrect=ImageGroup.from_dict(content["groups"]["incorrect"]),
            classes={int(number): name for number, name in content["classes"].items()},
            places=tuple(content["places"]),
            dead=tuple(content["dead"]),
            tails=None if tails is None else TailSummary.from_dict(tails),
            calibration=None if calibration is None else Calibration.from_dict(calibration),
            tracing=None if tracing is None else Tracing.from_dict(tracing),
            context={key: content[key] if key in content else _BEFORE[key] for key in _CONTEXT},
        )

    def to_table(self) -> list[dict[str, Any]]:
        """One row per mistake and filter, as ``filters.csv`` has them."""
        rows = []
        for mistake in self.mistakes:
            content = mistake.to_dict(self.classes)
            about = {key: content[key] for key in _ABOUT_MISTAKE}
            rows += [{"schema_version": _VERSION, **about, **ranked} for ranked in content["filters"]]
        return rows

    def write(self, out_dir: str | Path) -> Path:
        """Write ``explanation.json``, ``filters.csv`` and ``report.html``; each is whole or not there.

        Pixel gradients that were kept go into ``pixels.safetensors``: ``gradients`` ``(M, C, H, W)`` and the
        ``positions`` ``(M,)`` of their images.

        Returns:
            Path of the report.

        Raises:
            SourceError: The folder cannot be written to.
        """
        folder = open_folder(out_dir)
        contents: dict[str, str | bytes] = {
            "explanation.json": as_json(self.to_dict()),
            "filters.csv": as_csv(self.to_table(), _COLUMNS),
            "report.html": render(self),
        }
        # Before the data that names it.
        pixels = {_PIXELS: _packed(self.pixel_gradients)} if self.pixel_gradients else {}
        write_atomically(folder, {**pixels, **contents})
        return folder / "report.html"

    @classmethod
    def load(cls, path: str | Path) -> Explanation:
        """Read what ``write`` wrote, now or with version 1 or 2; pictures are in the HTML report alone.

        Args:
            path: The folder, or its ``explanation.json``.

        Raises:
            SourceError: No such file, or not an explanation of a version that is known.
        """
        file = Path(path) / "explanation.json" if Path(path).is_dir() else Path(path)
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
            schema, number = content["schema"], content["schema_version"]
            if schema == _SCHEMA and number in _KNOWN:
                pixels = content.get("pixels")
                gradients = {} if pixels is None else _unpacked(file.with_name(pixels).read_bytes())
                return replace(cls.from_dict(content), pixel_gradients=gradients)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, SafetensorError) as error:
            message = f"Expected an explanation at '{file}', got {type(error).__name__}: {error}."
            raise SourceError(message) from error
        message = f"Expected {_SCHEMA} of version {_VERSION} or before at '{file}', got {schema} of version {number}."
        raise SourceError(message)


_BEFORE = {"method": {"name": "parameter", "unit": "standard deviations", "unusual_above": 3.0}}
"""What version 1 takes for granted."""
_CONTEXT = ("versions", "model", "images", "method", "reference", "parameters")
_ABOUT_MISTAKE = (
    "file",
    "label",
    "label_name",
    "label_confidence",
    "prediction",
    "prediction_name",
    "prediction_confidence",
)
_COLUMNS = ("schema_version", *_ABOUT_MISTAKE, "rank", "layer", "index", "part", "score", "p_value")


def _packed(gradients: Mapping[int, Tensor]) -> bytes:
    positions = torch.tensor(sorted(gradients))
    stacked = torch.stack([gradients[position] for position in positions.tolist()])
    packed: bytes = save({"gradients": stacked, "positions": positions})
    return packed


def _unpacked(packed: bytes) -> dict[int, Tensor]:
    tensors = load(packed)
    return dict(zip(tensors["positions"].tolist(), tensors["gradients"], strict=True))
