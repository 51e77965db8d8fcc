"""From labelled images to a checkup: which channels misled each mistake, and what a treatment does about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from scipy.stats import mannwhitneyu
from torch import nn

from captum_paramsal.attr import ModelDoctor
from captum_paramsal.doctor import Diagnosis
from captum_paramsal.hooks import Output, scored_model, two_class_view
from captum_paramsal.report.doctor.caveats import collect_warnings, doctor_caveats
from captum_paramsal.report.doctor.data import DiagnosedGroup, DiagnosedMistake, EvidencePictures
from captum_paramsal.report.doctor.findings import Examination
from captum_paramsal.report.doctor.report import DoctorReport
from captum_paramsal.report.doctor.settings import DoctorSettings
from captum_paramsal.report.doctor.treating import Treated, TreatmentSettings, treat_images
from captum_paramsal.report.doctor.treatment_section import shown_changes
from captum_paramsal.report.shared.predictions import (
    Prediction,
    caveats_of,
    classes_of,
    evenly_spread,
    on_device,
    pictures_of,
    predict,
)
from captum_paramsal.report.shared.report import About
from captum_paramsal.sources import ImageSource, Picture, SourceBatches
from captum_paramsal.versions import renamed_arguments

_COMPARED = 256
"""Correctly classified images that are diagnosed for comparison, at most."""
_FEWEST = 5
"""Images of each kind below which nothing is said about telling them apart."""


@renamed_arguments(therapy="treatment")
def doctor(
    model: nn.Module,
    images: ImageSource,
    diagnosis: Diagnosis | None = None,
    *,
    usual: ImageSource | None = None,
    treatment: TreatmentSettings | None = None,
    settings: DoctorSettings | None = None,
    classes: Mapping[int, str] | None = None,
    about: About | None = None,
    output: Output | None = None,
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
        treatment: How to treat a copy of the model; None for a diagnosis alone.
        settings: Layer, kind of evidence, sizes, device.
        classes: Names of the classes.
        about: What model, images and the usual ones (``reference``) are called in the report.
        output: What makes class scores ``(N, C)`` of what the model returns, where it returns something else than
            these or ``logits``.

    Raises:
        ParamsalError: A model, images, diagnosis or options that do not go together; see the child raised.
    """
    model = scored_model(model, output)
    settings = settings or DoctorSettings()
    size, shown = settings.batch_size, settings.show_progress
    with on_device(model, settings.device) as device, collect_warnings() as warned:
        # Before the first pass, so that a wrong layer or diagnosis shows at once.
        doctor = settings.doctor(two_class_view(model), diagnosis)
        predictions = predict(model, images, batch_size=size, device=device, show_progress=shown)
        origin = "given" if diagnosis is not None else "usual" if usual or treatment else "same"
        batches = SourceBatches(images, model, [prediction.position for prediction in predictions], size, device)
        if diagnosis is None:
            source = usual or (treatment.train if treatment else images)
            positions = _correct_ones(predictions) if source is images else None
            diagnosis = _diagnosed(doctor, replace(batches, images=source, positions=positions), settings)
        examination = Examination(doctor, diagnosis, batches, settings.top_k, shown)
        context = _context(model, diagnosis, about or About(), settings, origin)
        report = _examined(examination, predictions, settings.cards, context)
        treated = None if treatment is None else treat_images(treatment, diagnosis, batches, show_progress=shown)
    if treated is not None:
        report = _with_treatment(report, treated, images)
    return _with_names(report, predictions, classes or {}, warned, treated)


def _examined(
    examination: Examination, predictions: Sequence[Prediction], cards: int, context: Mapping[str, Any]
) -> DoctorReport:
    """The report, without names of classes and caveats."""
    diagnosis, images = examination.diagnosis, examination.batches.images
    mistakes, pictures, evidence = _mistakes(examination, predictions, cards)
    compared = examination.diagnose(_compared(predictions), "correct images, to compare")
    correct = [image.diagnosed for image in compared]
    return DoctorReport(
        images=len(predictions),
        mistakes=mistakes,
        skipped=tuple(images.skipped),
        diagnosis=diagnosis,
        mistake_group=DiagnosedGroup.of(mistakes, diagnosis.channels),
        correct_group=DiagnosedGroup.of(correct, diagnosis.channels),
        separation=_separation(mistakes, correct),
        classes={},
        context=context,
        pictures=pictures,
        evidence=evidence,
    )


def _with_treatment(report: DoctorReport, treated: Treated, images: ImageSource) -> DoctorReport:
    pictures = {**pictures_of(images, shown_changes(treated.result)), **report.pictures}
    return replace(report, treatment=treated.result, patch=treated.patch, treated=treated.model, pictures=pictures)


def _with_names(
    report: DoctorReport,
    predictions: Sequence[Prediction],
    classes: Mapping[int, str],
    warned: Sequence[str],
    treated: Treated | None,
) -> DoctorReport:
    """The report with the names of the classes that occur, and with its caveats."""
    seen = classes_of(predictions) | set(treated.result.after if treated else ())
    named = seen | set(report.diagnosis.counts.nonzero()[:, 0].tolist())
    caveats = (
        *caveats_of(predictions),
        *warned,
        *doctor_caveats(report.diagnosis, report.mistakes, seen, classes),
        *(treated.caveats if treated else ()),
    )
    names = {number: name for number, name in classes.items() if number in named}
    return replace(report, classes=names, caveats=caveats)


def _correct_ones(predictions: Sequence[Prediction]) -> list[int] | None:
    """Their positions, where there are any; the doctor would find them, too, but has to read all images for it."""
    return [prediction.position for prediction in predictions if prediction.correct] or None


def _diagnosed(doctor: ModelDoctor, batches: SourceBatches, settings: DoctorSettings) -> Diagnosis:
    return doctor.fit(
        batches,
        confidence=settings.confidence,
        samples_per_class=settings.samples_per_class,
        show_progress=settings.show_progress,
    )


def _mistakes(
    examination: Examination, predictions: Sequence[Prediction], cards: int
) -> tuple[tuple[DiagnosedMistake, ...], dict[int, Picture], dict[int, EvidencePictures]]:
    """Every mistake, and of the most confident ones pictures and maps."""
    wrong = [prediction for prediction in predictions if not prediction.correct]
    most_confident = sorted(wrong, key=lambda prediction: -prediction.confidence)[:cards]
    drawn = {prediction.position for prediction in most_confident}
    pictures = pictures_of(examination.batches.images, sorted(drawn))
    mistakes, evidence = [], {}
    for image in examination.diagnose(wrong, "mistakes"):
        position = image.diagnosed.position
        mistakes.append(replace(image.diagnosed, drawn=position in drawn))
        if position in pictures:
            evidence[position] = image.pictures(pictures[position])
    return tuple(mistakes), pictures, evidence


def _compared(predictions: Sequence[Prediction]) -> list[Prediction]:
    """Correct ones to compare with, evenly spread, as many as there are mistakes."""
    correct = [prediction for prediction in predictions if prediction.correct]
    places = evenly_spread(range(len(correct)), min(len(predictions) - len(correct), _COMPARED))
    return [correct[place] for place in places]


def _separation(wrong: Sequence[DiagnosedMistake], correct: Sequence[DiagnosedMistake]) -> dict[str, float]:
    """The chance that a mistake has the larger number, a tie counting half."""
    groups = (wrong, correct)
    kinds = {
        "deviation": [[image.deviation for image in group if image.deviation is not None] for group in groups],
        "doubt": [[1 - image.confidence for image in group] for group in groups],
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
            "confident_images": int(diagnosis.counts.sum()),
        },
        "parameters": {"top_k": settings.top_k, "batch_size": settings.batch_size, "device": str(settings.device)},
    }
