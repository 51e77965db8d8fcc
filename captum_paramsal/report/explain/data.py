"""What an explanation says of every mistake, of groups of images, and of the whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

from safetensors.torch import load
from torch import Tensor
from typing_extensions import Self

from captum_paramsal.filters import Filter, FilterIndex
from captum_paramsal.report.explain.calibration import Calibration
from captum_paramsal.report.explain.exemplar_records import SuspectExemplars
from captum_paramsal.report.explain.tail_summary import TailSummary
from captum_paramsal.report.explain.trace_records import (
    FilterPath,
    MapPair,
    MistakeTraces,
    NeuronFigures,
    PathDrawing,
    Tracing,
)
from captum_paramsal.report.shared.codec import INLINE, from_json, from_json_or_none
from captum_paramsal.report.shared.folder import SHARED_FILES
from captum_paramsal.report.shared.mistake import ImageMistake
from captum_paramsal.report.shared.report import Report
from captum_paramsal.sources import Picture, Skipped

PIXELS = "pixels.safetensors"


@dataclass(frozen=True)
class RankedFilter:
    """A filter and its score for one image.

    Attributes:
        filter: The filter.
        score: In standard deviations of the reference, or in nats.
        p_value: How probable such a value is over the reference; None for a method that does not say.
    """

    filter: Filter = field(metadata=INLINE)
    score: float
    p_value: float | None = None


@dataclass(frozen=True)
class Mistake(ImageMistake):
    """An image that the model got wrong, and the filters behind it.

    Attributes:
        filters: The highest-scoring filters, highest first; of tail scores, those above their threshold alone.
        unusual: How many of all filters are unusual, see :mod:`captum_paramsal.report.explain.score_scale`.
        note: A note from the source.
        curve: Its saliency profile at the explanation's ``places``; empty where no card is drawn.
        traces: Where the evidence for the true and for the predicted class was gathered; None if not traced.
    """

    filters: tuple[RankedFilter, ...]
    unusual: int
    note: str = ""
    curve: tuple[float, ...] = ()
    traces: MistakeTraces | None = None

    def to_dict(self, classes: Mapping[int, str]) -> dict[str, Any]:
        """As JSON has it, with the names of the classes and the ranks of the filters."""
        content = super().to_dict(classes)
        return {**content, "filters": [{"rank": rank, **ranked} for rank, ranked in enumerate(content["filters"], 1)]}


@dataclass(frozen=True)
class NearMistake:
    """A mistake in which the same filters stand out as in another.

    Attributes:
        position: Place among the source's images.
        similarity: Cosine of the angle between the profiles of both.
    """

    position: int
    similarity: float


@dataclass(frozen=True)
class ImageGroup:
    """Scored images taken together: the mistakes, or correctly classified images for comparison.

    Attributes:
        images: How many.
        mean: Mean score of each filter over them, F of them, scores above the ceiling of their scale counted as that;
            empty for no image.
        unusual: Mean number of unusual filters per image.
        appearances: By column of the scores, on how many images the filter is among the top k.
    """

    images: int = 0
    mean: tuple[float, ...] = ()
    unusual: float = 0.0
    appearances: Mapping[int, int] = field(default_factory=dict)

    def share(self, column: int) -> float:
        """Of the images, that with a filter among their top k."""
        return self.appearances.get(column, 0) / max(self.images, 1)


USUAL = 15
"""Suspects that a report names, at most."""


def usual_suspects(mistakes: ImageGroup, correct: ImageGroup) -> list[int]:
    """Columns of the filters that most mistakes have among their top k; one mistake does not make a suspect.

    Of filters that as many mistakes have, the one comes first that fewer correct images have.

    >>> usual_suspects(ImageGroup(3, appearances={0: 2, 4: 3, 5: 1, 7: 2}), ImageGroup(3, appearances={0: 1}))
    [4, 7, 0]

    Args:
        mistakes: The mistakes together.
        correct: Images that the model got right.
    """
    often = sorted(mistakes.appearances.items(), key=lambda entry: (-entry[1], correct.share(entry[0]), entry[0]))
    return [column for column, count in often[:USUAL] if count > 1]


@dataclass(frozen=True)
class ExplanationData(Report):
    """Every mistake of a model on a set of images, and the filters behind it.

    Attributes:
        images: Images that were classified.
        mistakes: Those that were classified wrongly, in the order of the images.
        filters: The filters that were scored, F of them.
        correct_group: Correctly classified images that were scored for comparison.
        mistake_group: The mistakes, together.
        places: Where on the horizontal axis of a profile the points of each mistake's ``curve`` lie.
        dead: Columns of filters that never varied over the reference, or have no tail there: they have no score of
            their own.
        tails: How well the tails fit; None for a method without.
        calibration: Whether the p-values are what they say; None for a method without.
        neighbors: The nearest of each mistake with a card among these, nearest first, by position; none where no filter
            is above its threshold.
        exemplars: What the usual suspects look for: the reference's images in which they are most active.
        tracing: How mistakes were traced back to pixels, or why they could not be; None if that was turned off.
        paths: What of the trace of the predicted class goes through a guilty filter, by position of the mistakes that
            were looked at.
        pixel_gradients: Signed gradient with respect to the input of each mistake whose map was kept, by position.
        maps: Picture of the pixels behind each mistake that has one, by position; not saved as data.
        trace_maps: Traces of each mistake that has a picture, by position; not saved as data.
        neurons: Figures of the neurons behind the most confident mistakes, by position; not saved as data.
        path_drawings: Where these lead, of the mistakes that have a picture, by position; not saved as data.
        crops: What each suspect sees in its exemplars, by the number of the image; not saved as data.
    """

    kind: ClassVar[str] = "explain"
    schema: ClassVar[str] = "captum_paramsal.explanation"
    version: ClassVar[int] = 4
    data_file: ClassVar[str] = "explanation.json"
    files: ClassVar[Mapping[str, str]] = MappingProxyType(
        {
            data_file: "every number on the page",
            "filters.csv": "one row per mistake and guilty filter",
            PIXELS: "signed pixel gradients of mistakes, and the positions of their images",
            **SHARED_FILES,
        }
    )
    former_keys: ClassVar[Mapping[str, str]] = MappingProxyType(
        {
            "prediction": "predicted",
            "prediction_name": "predicted_name",
            "prediction_confidence": "confidence",
            "incorrect": "mistakes",
        }
    )
    context_keys: ClassVar[tuple[str, ...]] = ("versions", "model", "images", "method", "reference", "parameters")

    images: int
    mistakes: tuple[Mistake, ...]
    filters: FilterIndex
    correct_group: ImageGroup
    mistake_group: ImageGroup
    places: tuple[float, ...]
    dead: tuple[int, ...] = ()
    tails: TailSummary | None = None
    calibration: Calibration | None = None
    neighbors: Mapping[int, tuple[NearMistake, ...]] = field(default_factory=dict)
    exemplars: SuspectExemplars = field(default_factory=SuspectExemplars)
    tracing: Tracing | None = None
    paths: Mapping[int, FilterPath] = field(default_factory=dict)
    pixel_gradients: Mapping[int, Tensor] = field(default_factory=dict, compare=False, repr=False)
    maps: Mapping[int, Picture] = field(default_factory=dict, compare=False, repr=False)
    trace_maps: Mapping[int, MapPair] = field(default_factory=dict, compare=False, repr=False)
    neurons: Mapping[int, NeuronFigures] = field(default_factory=dict, compare=False, repr=False)
    path_drawings: Mapping[int, PathDrawing] = field(default_factory=dict, compare=False, repr=False)
    crops: Mapping[Filter, Mapping[int, Picture]] = field(default_factory=dict, compare=False, repr=False)

    @property
    def image_count(self) -> int:
        """How many images were classified."""
        return self.images

    @property
    def mistake_count(self) -> int:
        """How many of them the model got wrong."""
        return len(self.mistakes)

    def facts(self) -> dict[str, Any]:
        """What this kind has to say, by key."""
        return {
            "layers": [
                {"name": name, "filters": count, "parts": list(self.filters.parts.get(name, ()))}
                for name, count in self.filters.counts.items()
            ],
            "tails": self.tails,
            "calibration": self.calibration,
            "traces": self.tracing,
            "pixels": PIXELS if self.pixel_gradients else None,
            "groups": {"correct": self.correct_group, "mistakes": self.mistake_group},
            "dead": self.dead,
            "places": self.places,
            "neighbors": self.neighbors,
            "exemplars": self.exemplars,
            "paths": self.paths,
            "mistakes": [mistake.to_dict(self.classes) for mistake in self.mistakes],
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any], folder: Path | None = None) -> Self:
        """Back from ``to_dict``, without pictures; also from that of older versions, under the keys of now.

        Args:
            content: What ``to_dict`` returned.
            folder: Where pixel gradients lie; None to leave them out.

        Raises:
            KeyError, TypeError: Something is missing, or of another kind.
            SafetensorError: The file of the pixel gradients is damaged.
        """
        layers, pixels = content["layers"], content.get("pixels")
        return cls(
            images=content["summary"]["images"],
            mistakes=from_json(content["mistakes"], tuple[Mistake, ...]),
            skipped=from_json(content["skipped"], tuple[Skipped, ...]),
            filters=FilterIndex(
                {layer["name"]: layer["filters"] for layer in layers},
                {layer["name"]: layer["parts"] for layer in layers if layer["parts"]},
            ),
            correct_group=from_json(content["groups"]["correct"], ImageGroup),
            mistake_group=from_json(content["groups"]["mistakes"], ImageGroup),
            classes={int(number): name for number, name in content["classes"].items()},
            places=tuple(content["places"]),
            dead=tuple(content["dead"]),
            tails=from_json_or_none(content.get("tails"), TailSummary),
            calibration=from_json_or_none(content.get("calibration"), Calibration),
            neighbors=from_json(content.get("neighbors", {}), dict[int, tuple[NearMistake, ...]]),
            exemplars=from_json(content.get("exemplars", {}), SuspectExemplars),
            tracing=from_json_or_none(content.get("traces"), Tracing),
            paths=from_json(content.get("paths", {}), dict[int, FilterPath]),
            caveats=tuple(content.get("caveats", ())),
            context={key: content[key] if key in content else _BEFORE[key] for key in cls.context_keys},
            pixel_gradients={} if pixels is None or folder is None else _unpacked((folder / pixels).read_bytes()),
        )

    def to_table(self) -> list[dict[str, Any]]:
        """One row per mistake and filter, as ``filters.csv`` has them."""
        rows = []
        for mistake in self.mistakes:
            content = mistake.to_dict(self.classes)
            about = {"schema_version": self.version, **{key: content[key] for key in _ABOUT_MISTAKE}}
            path = self.paths.get(mistake.position)
            rows += [about | ranked | {"path_share": _share_at(path, ranked["rank"])} for ranked in content["filters"]]
        return rows


_BEFORE = {"method": {"name": "parameter", "unit": "standard deviations", "unusual_above": 3.0}}
"""What version 1 takes for granted."""
_ABOUT_MISTAKE = (
    "file",
    "label",
    "label_name",
    "label_confidence",
    "predicted",
    "predicted_name",
    "confidence",
)
FILTER_COLUMNS = ("schema_version", *_ABOUT_MISTAKE, "rank", "layer", "index", "part", "score", "p_value", "path_share")
"""Of ``filters.csv``."""


def _share_at(path: FilterPath | None, rank: int) -> float | None:
    """Share of a trace that goes through the filter of a rank; None where that was not looked at."""
    if path is None or rank > (path.rank or path.tried):
        return None
    return path.share if rank == path.rank else 0.0


def _unpacked(packed: bytes) -> dict[int, Tensor]:
    tensors = load(packed)
    return dict(zip(tensors["positions"].tolist(), tensors["gradients"], strict=True))
