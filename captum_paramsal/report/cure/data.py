"""What a report on a cure says: the verdict, the images that judged, and what changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

from typing_extensions import Self

from captum_paramsal.repair import Cure, Patch
from captum_paramsal.report.shared.codec import from_json
from captum_paramsal.report.shared.folder import SHARED_FILES
from captum_paramsal.report.shared.report import Report

PATCH = "cured.patch.safetensors"


@dataclass(frozen=True)
class JudgedImage:
    """An image that judged a cure, and that neither taught nor chose it.

    Attributes:
        file: Its name.
        label: Its true class.
        before: What the model says.
        confidence: Softmax probability of that.
        after: What the changed model says; None where no change was judged.
    """

    file: str
    label: int
    before: int
    confidence: float
    after: int | None

    @property
    def outcome(self) -> str:
        """What came of it: "cured", "not cured", "broken", "still right", or "not judged"."""
        if self.after is None:
            return "not judged"
        if self.before != self.label:
            return "cured" if self.after == self.label else "not cured"
        return "still right" if self.after == self.label else "broken"


@dataclass(frozen=True, eq=False, kw_only=True)
class CureData(Report):
    """A cure, with the names of the images that judged it.

    Attributes:
        cure: What came of it.
        judged: The mistakes that judged, and the right images.
        images: How many images were classified.
        wrong: How many of them the model got wrong.
        candidates: How many images there are to choose from.
    """

    kind: ClassVar[str] = "cure"
    schema: ClassVar[str] = "captum_paramsal.cure"
    version: ClassVar[int] = 1
    data_file: ClassVar[str] = "cure.json"
    files: ClassVar[Mapping[str, str]] = MappingProxyType(
        {
            data_file: "every number on the page",
            "cure.csv": "one row per image that judged",
            PATCH: "what the cure changes",
            **SHARED_FILES,
        }
    )
    context_keys: ClassVar[tuple[str, ...]] = (
        *("versions", "model", "images", "chosen", "keep", "reference", "parameters"),
    )

    cure: Cure
    judged: tuple[JudgedImage, ...]
    images: int
    wrong: int
    candidates: int

    @property
    def image_count(self) -> int:
        """How many images were classified."""
        return self.images

    @property
    def mistake_count(self) -> int:
        """How many of them the model got wrong."""
        return self.wrong

    def with_outcome(self, outcome: str) -> list[int]:
        """Numbers of the judging images that it ended so for, those that the model was most confident about first."""
        numbers = [number for number, image in enumerate(self.judged) if image.outcome == outcome]
        return sorted(numbers, key=lambda number: -self.judged[number].confidence)

    def summary(self) -> dict[str, Any]:
        """The figures that come first."""
        verdict = self.cure.verdict
        return {
            **super().summary(),
            "candidates": self.candidates,
            "status": verdict.status,
            "reason": verdict.reason,
            "judging_mistakes": len(verdict.cured),
            "cured": int(verdict.cured.sum()),
            "cured_interval": list(verdict.cured_interval),
            "judging_right_images": len(verdict.broken),
            "broken": int(verdict.broken.sum()),
            "broken_interval": list(verdict.broken_interval),
            "p_value": verdict.p_value,
        }

    def facts(self) -> dict[str, Any]:
        """What this kind has to say, by key."""
        return {"cure": self.cure.to_dict(), "judged": self.judged}

    def judged_table(self) -> list[dict[str, Any]]:
        """One row for each judging image, as ``cure.csv`` has them."""
        return [{**vars(image), "outcome": image.outcome} for image in self.judged]

    @classmethod
    def from_dict(cls, content: Mapping[str, Any], folder: Path) -> Self:
        """Back from ``to_dict``, and the patch beside it.

        Raises:
            KeyError, TypeError, ValueError: Something is missing, or of another kind.
            PatchError: The patch of a kept cure cannot be read.
        """
        summary = content["summary"]
        patch = Patch.load(folder / PATCH) if summary["status"] == "kept" else None
        return cls(
            cure=Cure.from_dict(content["cure"], patch),
            judged=from_json(content["judged"], tuple[JudgedImage, ...]),
            images=summary["images"],
            wrong=summary["mistakes"],
            candidates=summary["candidates"],
            **cls.shared_fields(content),
        )


def shown_images(report: CureData, most: int) -> Sequence[int]:
    """Numbers of the judging images that the page shows."""
    return [number for outcome in ("cured", "not cured", "broken") for number in report.with_outcome(outcome)[:most]]
