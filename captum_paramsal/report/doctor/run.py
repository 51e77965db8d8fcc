"""From labelled images to a checkup: which channels misled each mistake, and what a treatment does about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from scipy.stats import mannwhitneyu
from torch import nn

from captum_paramsal.attr import ModelDoctor
from captum_paramsal.doctor import Diagnosis
from captum_paramsal.report.doctor.findings import EvidencePictures, Examination
from captum_paramsal.report.doctor.records import DiagnosedGroup, DiagnosedMistake
from captum_paramsal.report.doctor.remarks import collect_warnings, doctor_caveats
from captum_paramsal.report.doctor.report import DoctorReport
from captum_paramsal.report.doctor.settings import DoctorSettings
from captum_paramsal.report.doctor.treating import TreatmentSettings, treated
from captum_paramsal.report.doctor.treatment_section import shown_changes
from captum_paramsal.report.shared.predictions import Prediction, evenly_spread, on_device, predict
from captum_paramsal.report.shared.report import About
from captum_paramsal.sources import ImageSource, Picture, SourceBatches

_COMPARED = 256
"""Correctly classified images that are diagnosed for comparison, at most."""
_FEWEST = 5
"""Images of each kind below which nothing is said about telling them apart."""


def doctor(
    model: nn.Module,
    images: ImageSource,
    diagnosis: Diagnosis | None = None,
    *,
    usual: ImageSource | None = None,
    therapy: TreatmentSettings | None = None,
    settings: DoctorSettings | None = None,
    classes: Mapping[int, str] | None = None,
    about: About | None = None,
) -> DoctorReport:
    """Find every image that a classifier gets wrong, and the channels that misled it; treat the model if asked to.

    Every image is classified once. The mistakes, and for comparison some correctly classified images (as many as there
    are mistakes, 256 at most, evenly spread), are diagnosed.

    Args:
        model: A classifier, left as it was.
        images: Labelled images. A treatment is judged on them, and never sees them.
        diagnosis: What the classes rely on; with it go its layer and the way that evidence was taken.
        usual: Labelled images to make a diagnosis of. Without either, it is made of the images of the treatment, or
            else of ``images`` themselves; only correctly classified ones are used.
        therapy: How to treat a copy of the model; None for a diagnosis alone.
        settings: Layer, kind of evidence, sizes, device.
        classes: Names of the classes.
        about: What model, images and the usual ones (``reference``) are called in the report.

    Raises:
        ParamsalError: A model, images, diagnosis or options that do not go together; see the child raised.
    """
    chosen, names = settings or DoctorSettings(), classes or {}
    with on_device(model, chosen.device) as device, collect_warnings() as remarks:
        # Before the first pass, so that a wrong layer or diagnosis shows at once.
        doctor = chosen.doctor(model, diagnosis)
        found = predict(model, images, batch_size=chosen.batch_size, device=device, show_progress=chosen.show_progress)
        origin = "given" if diagnosis is not None else "usual" if usual or therapy else "same"
        if diagnosis is None:
            source = usual or (therapy.train if therapy else images)
            diagnosis = _diagnosed(doctor, source, found if source is images else None, chosen, device)
        examination = Examination(
            doctor, diagnosis, images, chosen.top_k, chosen.batch_size, device, chosen.show_progress
        )
        mistakes, pictures, evidence = _mistakes(examination, found, chosen.cards)
        compared = _compared(found)
        right = [seen.found for seen in examination.look_at(compared, "correct ones, to compare")]
        course = None
        if therapy is not None:
            held_out = SourceBatches(images, model, [one.position for one in found], chosen.batch_size, device)
            course = treated(therapy, diagnosis, held_out, show_progress=chosen.show_progress)
    seen = {one.label for one in found} | {one.predicted for one in found}
    seen |= set(course.result.after) if course else set()
    said = [*remarks, *doctor_caveats(diagnosis, mistakes, seen, names), *(course.remarks if course else ())]
    checkup = DoctorReport(
        images=len(found),
        mistakes=mistakes,
        skipped=tuple(images.skipped),
        diagnosis=diagnosis,
        wrong=DiagnosedGroup.of(mistakes, diagnosis.channels),
        right=DiagnosedGroup.of(right, diagnosis.channels),
        separation=_separation(mistakes, right),
        classes={number: name for number, name in names.items() if number in seen or _known(diagnosis, number)},
        remarks=tuple(said),
        context=_context(model, diagnosis, about or About(), chosen, origin),
        pictures=pictures,
        evidence=evidence,
    )
    if course is None:
        return checkup
    shown = {**_pictures(images, shown_changes(course.result)), **pictures}
    return replace(checkup, treatment=course.result, patch=course.patch, treated=course.model, pictures=shown)


def _diagnosed(
    doctor: ModelDoctor,
    source: ImageSource,
    found: Sequence[Prediction] | None,
    settings: DoctorSettings,
    device: torch.device,
) -> Diagnosis:
    """A diagnosis of images; where their predictions are known already, of the correct ones alone."""
    positions = list(range(len(source.items)))
    if found is not None:
        positions = [one.position for one in found if one.predicted == one.label] or positions
    return doctor.fit(
        SourceBatches(source, doctor.model, positions, settings.batch_size, device),
        confidence=settings.confidence,
        samples_per_class=settings.samples_per_class,
        show_progress=settings.show_progress,
    )


def _mistakes(
    examination: Examination, found: Sequence[Prediction], cards: int
) -> tuple[tuple[DiagnosedMistake, ...], dict[int, Picture], dict[int, EvidencePictures]]:
    """Every mistake, and of the surest ones pictures and maps."""
    wrong = [one for one in found if one.predicted != one.label]
    drawn = {one.position for one in sorted(wrong, key=lambda one: -one.confidence)[:cards]}
    pictures = _pictures(examination.images, sorted(drawn))
    mistakes, evidence = [], {}
    for seen in examination.look_at(wrong, "mistakes"):
        position = seen.found.position
        mistakes.append(replace(seen.found, drawn=position in drawn))
        if position in pictures:
            evidence[position] = seen.pictures(pictures[position])
    return tuple(mistakes), pictures, evidence


def _compared(found: Sequence[Prediction]) -> list[Prediction]:
    right = {one.position: one for one in found if one.predicted == one.label}
    return [right[position] for position in evenly_spread(list(right), min(len(found) - len(right), _COMPARED))]


def _pictures(images: ImageSource, positions: Sequence[int]) -> dict[int, Picture]:
    shown = ((position, images.picture(position)) for position in positions)
    return {position: picture for position, picture in shown if picture is not None}


def _known(diagnosis: Diagnosis, number: int) -> bool:
    return number < diagnosis.classes and bool(diagnosis.counts[number])


def _separation(wrong: Sequence[DiagnosedMistake], right: Sequence[DiagnosedMistake]) -> dict[str, float]:
    """The chance that a mistake has the larger number, a tie counting half."""
    kinds = {
        "deviation": [[one.deviation for one in group if one.deviation is not None] for group in (wrong, right)],
        "doubt": [[1 - one.prediction_confidence for one in group] for group in (wrong, right)],
    }
    return {
        name: float(mannwhitneyu(*pair).statistic) / (len(pair[0]) * len(pair[1]))
        for name, pair in kinds.items()
        if min(map(len, pair)) >= _FEWEST
    }


def _context(
    model: nn.Module, diagnosis: Diagnosis, about: About, settings: DoctorSettings, origin: str
) -> dict[str, Any]:
    return {
        **about.head(model, diagnosis.fingerprint),
        "layer": {"name": diagnosis.layer, "channels": diagnosis.channels},
        "method": {"name": "ModelDoctor", **diagnosis.settings},
        "usual": {
            "origin": "these images" if origin == "same" else about.reference,
            "fitted_on_these_images": origin == "same",
            "images": len(diagnosis.usual),
            "sure_images": int(diagnosis.counts.sum()),
        },
        "parameters": {"top_k": settings.top_k, "batch_size": settings.batch_size, "device": str(settings.device)},
    }
