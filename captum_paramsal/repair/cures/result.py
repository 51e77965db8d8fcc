"""What came of a cure."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from captum_paramsal.errors import CureError, PatchError
from captum_paramsal.files.kinds import CURE
from captum_paramsal.filters import Filter
from captum_paramsal.repair.cures.attempts import Attempt
from captum_paramsal.repair.cures.verdict import Verdict
from captum_paramsal.repair.treatment.patch import Patch
from captum_paramsal.summary import Summarized


@dataclass(frozen=True, eq=False, repr=False)
class Cure(Summarized):
    """A change of few filters, kept or refused.

    Attributes:
        patch: What turns the model into the cured one; None where the cure was refused.
        verdict: What the images say that took no part.
        filters: The filters that could be changed, the first of the ranking first; none where something else was.
        changes: Norm of each one's change as a share of the norm of its numbers, ``(K,)`` float64; 0 for all but the
            first where it was best to change that one alone.
        alternatives: The same budget spent on other numbers.
        parts: Which images served what: places in what was given, under "mistakes" and "keep" for each of "learn",
            "choose" and "judge", and under "left out" those that were no mistakes, or were not right.
        context: Model's fingerprint, settings, what was changed, and counts.
        predicted: What the changed model says of the judging images, int64, in the order of ``parts``, under
            "mistakes" and "keep"; empty where it did not come to that.
    """

    patch: Patch | None
    verdict: Verdict
    filters: tuple[Filter, ...]
    changes: Tensor
    alternatives: tuple[Attempt, ...]
    parts: Mapping[str, Mapping[str, Tensor]]
    context: Mapping[str, Any]
    predicted: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def changed(self) -> str:
        """What was changed, or would have been: "filters", "norms", the "last layer" or "whole network", or "any"."""
        # Older files name what was asked for, and the oldest, from before there was a choice, nothing.
        return str(self.context.get("changed") or self.context["settings"].get("change", "filters"))

    @property
    def kept(self) -> bool:
        """Whether there is something to apply."""
        return self.patch is not None

    def __str__(self) -> str:
        return self.verdict.reason

    def apply(self, model: nn.Module) -> None:
        """Cure the model, in place.

        Raises:
            CureError: The cure was refused.
            PatchError: The model is not the one that the cure was made for; nothing is changed.
        """
        self._kept_patch("apply").apply(model)

    def revert(self, model: nn.Module) -> None:
        """Take the cure back, in place, to the last bit.

        Raises:
            CureError: The cure was refused.
            PatchError: The model does not have the cure; nothing is changed.
        """
        self._kept_patch("take back").revert(model)

    def to_table(self) -> list[dict[str, Any]]:
        """One row per way to spend the budget: name, numbers, size, mistakes cured, right images broken, status."""
        return [row_of(self.changed, self.context["numbers"], self.context["size"], self.verdict)] + [
            row_of(one.name, one.numbers, one.size, one.verdict) for one in self.alternatives
        ]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a JSON file, and the patch of a kept cure beside it with the ending ``.safetensors``.

        Raises:
            CureError: The file cannot be written, or its name ends as the patch's.
            PatchError: The patch cannot be written.
        """
        beside = CURE.beside(path, ".safetensors")
        content = {
            "patch": beside.name if self.patch is not None else None,
            "treated": None if self.patch is None else self.patch.treated.short,
            **self.to_dict(),
        }
        # Before the file that names it.
        if self.patch is not None:
            self.patch.save(beside)
        CURE.save(path, content)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Cure:
        """Read a cure and its patch, whole or not at all.

        Raises:
            CureError: No such file, damaged, or not a cure of a version that is known.
            PatchError: The same of its patch.
        """
        source = Path(path)
        beside, treated, values = CURE.load(source, _values)
        patch = None if beside is None else Patch.load(source.with_name(beside))
        if patch is not None and patch.treated.short != treated:
            message = f"Expected the patch of {str(source)!r} in {beside!r}, got that of another cure."
            raise PatchError(message)
        return cls(patch=patch, **values)

    def to_dict(self) -> dict[str, Any]:
        """Everything but the patch, as JSON has it."""
        return {
            "verdict": _verdict_listed(self.verdict),
            "filters": [[one.layer, one.index, one.part] for one in self.filters],
            "changes": self.changes.tolist(),
            "alternatives": [
                {"name": one.name, "numbers": one.numbers, "size": one.size, "verdict": _verdict_listed(one.verdict)}
                for one in self.alternatives
            ],
            "parts": {kind: {part: places.tolist() for part, places in of.items()} for kind, of in self.parts.items()},
            "context": dict(self.context),
            "predicted": {kind: of.tolist() for kind, of in self.predicted.items()},
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any], patch: Patch | None) -> Cure:
        """Back from ``to_dict``.

        Raises:
            KeyError, TypeError, ValueError: Something is missing, or of another kind.
        """
        return cls(patch=patch, **_values(content)[2])

    def _kept_patch(self, what: str) -> Patch:
        if self.patch is None:
            message = f"Expected a cure that was kept, to {what}, got one that was not. {self.verdict.reason}"
            raise CureError(message)
        return self.patch


def row_of(name: str, numbers: int, size: float, verdict: Verdict) -> dict[str, Any]:
    """A row of a table of ways to spend the budget."""
    return {
        "changed": name,
        "numbers": numbers,
        "size": size,
        "mistakes": len(verdict.cured),
        "cured": int(verdict.cured.sum()),
        "right images": len(verdict.broken),
        "broken": int(verdict.broken.sum()),
        "p": verdict.p_value,
        "status": verdict.status,
    }


def _verdict_listed(verdict: Verdict) -> dict[str, Any]:
    return {name: value.tolist() if isinstance(value, Tensor) else value for name, value in vars(verdict).items()}


def _verdict_of(content: Mapping[str, Any]) -> Verdict:
    flags = {name: torch.tensor(content[name], dtype=torch.bool) for name in ("cured", "broken")}
    return Verdict(content["status"], content["reason"], **flags, p_value=content["p_value"])


def _values(content: Mapping[str, Any]) -> tuple[str | None, str | None, dict[str, Any]]:
    values = {
        "verdict": _verdict_of(content["verdict"]),
        "filters": tuple(Filter(*one) for one in content["filters"]),
        "changes": torch.tensor([_size(one) for one in content["changes"]], dtype=torch.float64),
        "alternatives": tuple(
            Attempt(one["name"], one["numbers"], _size(one["size"]), {}, _verdict_of(one["verdict"]))
            for one in content["alternatives"]
        ),
        "parts": {
            kind: {part: torch.tensor(places, dtype=torch.int64) for part, places in of.items()}
            for kind, of in content["parts"].items()
        },
        "context": content["context"] | {"size": _size(content["context"]["size"])},
        "predicted": {
            kind: torch.tensor(predicted, dtype=torch.int64) for kind, predicted in content["predicted"].items()
        },
    }
    return content.get("patch"), content.get("treated"), values


def _size(value: float | None) -> float:
    """Plain JSON has no infinity, which is how far numbers moved that were all zero."""
    return inf if value is None else value
