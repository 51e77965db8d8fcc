"""What the most salient pixels do: covered, and put into other images (Levin et al., figures 18 and 20)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from captum_paramsal.repair import MaskedPixels, mask_pixels, paste_pixels
from captum_paramsal.repair.interventions.masked_pixels import Fill
from captum_paramsal.repair.interventions.pixel_regions import Which
from captum_paramsal.report.shared.predictions import evenly_spread
from captum_paramsal.reproduce.intervals import interval
from captum_paramsal.reproduce.maps import CAM, LOSS, OURS, looked_at, maps_at
from captum_paramsal.reproduce.neighbours import pixels_of
from captum_paramsal.reproduce.result import Drawn
from captum_paramsal.reproduce.subject import Subject
from captum_paramsal.viz import comparison_grid, to_png

_SHARE = 0.05
"""Of the pixels."""

_OTHERS, _DRAWS = 16, 4
"""Images that each region is put into, and random regions beside it."""

_COVERS: Mapping[str, Fill] = {"mean colour": 0.0, "blur": "blur"}
_ARMS: Mapping[str, tuple[str, Which]] = {
    "most salient": (OURS, "salient"),
    "least salient": (OURS, "least"),
    "random": (OURS, "random"),
    CAM: (CAM, "salient"),
    LOSS: (LOSS, "salient"),
}


def covered_figure(subject: Subject) -> Drawn:
    """The most salient pixels covered: mistakes whose true class gains most, and loses most (figure 20)."""
    positions = looked_at(subject)
    inputs, labels = subject.read(positions)
    maps = maps_at(subject, positions)
    arms: dict[tuple[str, str], MaskedPixels] = {}
    for cover, fill in _COVERS.items():
        for arm, (name, which) in _ARMS.items():
            arms[cover, arm] = mask_pixels(
                subject.model,
                inputs,
                labels,
                maps[name],
                share=_SHARE,
                which=which,
                fill=fill,
                seed=subject.settings.seed,
            )
    rows = [
        {"pixels": arm, "cover": cover, "images": len(positions), **_effects(result, arms[cover, "random"])}
        for (cover, arm), result in arms.items()
    ]
    shown = arms["mean colour", "most salient"]
    gain = shown.true[:, 1] - shown.true[:, 0]
    pictures, notes = {}, list[str]()
    for name, signed in (("gained", gain), ("lost", -gain)):
        order = signed.argsort(descending=True, stable=True)[: subject.settings.shown].tolist()
        numbers = [number for number in order if signed[number] > 0]
        if numbers:
            pictures[name] = _gallery(subject, positions, numbers, shown)
        else:
            notes.append(f"There is no picture of mistakes whose true class {name} by the cover: none of them did.")
    return Drawn({"": rows}, pictures, notes)


def pasted_figure(subject: Subject) -> Drawn:
    """The most salient pixels of mistakes in correct images, which may turn to the wrong class (figure 18)."""
    positions = looked_at(subject)
    inputs, labels = subject.read(positions)
    maps = maps_at(subject, positions)
    others, _ = subject.read(evenly_spread(subject.correct, _OTHERS))
    rows: list[dict[str, Any]] = []
    for name in (OURS, CAM):
        pasted = paste_pixels(
            subject.model,
            inputs,
            labels,
            others,
            maps[name],
            share=_SHARE,
            draws=_DRAWS,
            seed=subject.settings.seed,
            show_progress=subject.settings.show_progress,
        )
        rows += [{"map": name, "mistakes": len(positions), **row} for row in pasted.to_table(subject.settings.seed)]
    return Drawn({"": rows})


def _effects(result: MaskedPixels, control: MaskedPixels) -> dict[str, float]:
    measured, random = (
        {
            "change of wrong class": masked.wrong[:, 1] - masked.wrong[:, 0],
            "change of true class": masked.true[:, 1] - masked.true[:, 0],
            "corrected": masked.corrected[:, 1].double(),
        }
        for masked in (result, control)
    )
    cells: dict[str, float] = {}
    for name, values in measured.items():
        cells |= interval(name, values) | interval(f"{name}, minus random", values - random[name])
    return cells


def _gallery(subject: Subject, positions: Sequence[int], numbers: Sequence[int], result: MaskedPixels) -> bytes:
    """Images with the pixels that were covered, and what became of the true class."""
    chosen = [positions[number] for number in numbers]
    names = []
    for row, number in zip(subject.rows(chosen).tolist(), numbers, strict=True):
        before, after = (f"{100 * value:.0f} %" for value in result.true[number].tolist())
        label, seen = (subject.name_of(int(classes[row])) for classes in (subject.labels, subject.predicted))
        names.append(f"{label}, as {seen};\n{before} to {after}")
    pictures = [pixels_of(subject, position) for position in chosen]
    masks: list[Tensor] = [result.masks[number].cpu().double()[None] for number in numbers]
    return to_png(comparison_grid(pictures, masks, ["pixels covered"], names=names))
