"""``captum-paramsal doctor``: which channels misled each mistake, and a treatment, as a report."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from captum_paramsal.cli.doctor_options import OF_PHOTOS, OF_TREATMENT, add_doctor_options
from captum_paramsal.cli.options import (
    Commands,
    add_command,
    add_compute_options,
    add_source_options,
    given_of,
    given_values,
    require_new_places,
    require_photos_or_demo,
)
from captum_paramsal.cli.saying import say, say_accuracy

if TYPE_CHECKING:
    from captum_paramsal.cli.loading import LoadedJob
    from captum_paramsal.report import DoctorReport, DoctorSettings, TreatmentSettings
    from captum_paramsal.sources import LabelledPhotos

_DESCRIPTION = """\
Classify labelled images, find out which channels of a layer each class relies on, and name for every mistake the
channels that are evidence for the wrong class as they are in few images that really show it, and where in the picture.
With --treat, a copy of the model is trained not to rely on what it should not, and judged on the images given. Writes
report.html (one file, opens anywhere), doctor.json, channels.csv, diagnosis.safetensors (for --diagnosis another time)
and, of a treatment, treated.patch.safetensors.

Without --model and IMAGES_DIR, the built-in demo is examined: a small network, and generated scenes whose background
leads it astray.
"""

_EPILOG = """\
examples:
  captum-paramsal doctor
  captum-paramsal doctor --treat
  captum-paramsal doctor --model squeezenet1_1 --weights squeezenet1_1.safetensors \\
      --labels test.csv --reference-labels val.csv --out report images
  captum-paramsal doctor --model mypackage.models:build --weights best.pt --labels test.csv \\
      --treat --train-labels train.csv --validation-labels val.csv --out report images
"""


def add_to(commands: Commands, summary: str) -> None:
    """Add the subcommand to a parser."""
    parser = add_command(commands, "doctor", summary, description=_DESCRIPTION, epilog=_EPILOG)
    add_source_options(parser, optional_images=True, boxes=True)
    add_doctor_options(parser)
    add_compute_options(parser, layers=False)
    parser.set_defaults(run=run, parser=parser)


def run(args: argparse.Namespace) -> int:
    """Load, examine, treat, write, say where."""
    _require_options_that_go_together(args)

    from captum_paramsal.files import open_place  # noqa: PLC0415
    from captum_paramsal.report import DoctorReport  # noqa: PLC0415
    from captum_paramsal.report.shared.folder import open_report_folder  # noqa: PLC0415

    require_new_places(args, ("save_weights",), DoctorReport.files)
    folder = open_report_folder(args.out, "doctor.json")
    if args.save_weights is not None:
        open_place(args.save_weights)
    checkup = _examine_demo(args) if args.model is None else _examine_photos(args)
    report = checkup.write(folder, command=args.command)
    if args.save_weights is not None:
        _save_weights(checkup, args.save_weights)
    _announce(checkup, report)
    return 0


def _require_options_that_go_together(args: argparse.Namespace) -> None:
    require_photos_or_demo(args, OF_PHOTOS, "examine the demo")
    if (strange := given_of(args, OF_TREATMENT)) and not args.treat:
        args.parser.error(f"{', '.join(strange)}: needs --treat")
    if args.treat and args.model is not None and args.train_labels is None:
        args.parser.error("--treat: needs --train-labels, the images to train on")
    if args.space_layers is not None and not args.as_in_paper:
        args.parser.error("--space-layers: needs --as-in-paper")
    if args.diagnosis is not None and (strange := given_of(args, ("reference_labels", "layer", "evidence"))):
        args.parser.error(f"{', '.join(strange)}: is settled by --diagnosis")
    for kind in ("reference", "validation"):
        if getattr(args, f"{kind}_images") is not None and getattr(args, f"{kind}_labels") is None:
            args.parser.error(f"--{kind}-images: needs --{kind}-labels")
    if args.boxes is not None and args.labels is None:
        args.parser.error("--boxes: needs --labels, the table that has this column")


def _examine_photos(args: argparse.Namespace) -> DoctorReport:
    from captum_paramsal.cli.loading import about_photos, load_job  # noqa: PLC0415
    from captum_paramsal.doctor.diagnosis import Diagnosis  # noqa: PLC0415
    from captum_paramsal.report import doctor  # noqa: PLC0415

    diagnosis = None if args.diagnosis is None else Diagnosis.load(args.diagnosis)
    # Several tables may share one folder.
    job = load_job(args, unlisted=not given_of(args, ("reference_labels", "train_labels")))
    about = about_photos(args, job, args.diagnosis or args.reference_labels or args.train_labels)
    return doctor(
        job.model,
        job.photos,
        diagnosis,
        usual=_photos_of(args, job, "reference"),
        treatment=_treatment_on_photos(args, job) if args.treat else None,
        settings=_settings(args),
        classes=job.classes,
        about=about,
    )


def _examine_demo(args: argparse.Namespace) -> DoctorReport:
    from captum_paramsal import demo  # noqa: PLC0415
    from captum_paramsal.cli.demo_images import ABOUT, labelled, training_scenes  # noqa: PLC0415
    from captum_paramsal.report import TreatmentSettings, doctor  # noqa: PLC0415

    usual = labelled(demo.load_scenes("validation"))
    treatment = (
        TreatmentSettings(labelled(training_scenes()), usual, **_treatment_options(args)) if args.treat else None
    )
    return doctor(
        demo.load_model(),
        labelled(demo.load_scenes("test")),
        usual=usual,
        treatment=treatment,
        settings=_settings(args),
        classes=dict(enumerate(demo.CLASSES)),
        about=ABOUT,
    )


def _settings(args: argparse.Namespace) -> DoctorSettings:
    from captum_paramsal.cli.loading import computation  # noqa: PLC0415
    from captum_paramsal.report import DoctorSettings  # noqa: PLC0415

    names = (
        "layer",
        "evidence",
        "noise_samples",
        "noise_range",
        "confidence",
        "samples_per_class",
        "top_k",
        "cards",
    )
    return DoctorSettings(**given_values(args, names), **computation(args))


def _treatment_on_photos(args: argparse.Namespace, job: LoadedJob) -> TreatmentSettings:
    from captum_paramsal.cli.loading import more_photos  # noqa: PLC0415
    from captum_paramsal.report import TreatmentSettings  # noqa: PLC0415

    train = more_photos(job, args.train_labels, args.train_images or args.images, args.boxes, args.train_masks)
    validation = _photos_of(args, job, "validation")
    for name, photos in (("--train-labels", train), ("--validation-labels", validation)):
        if photos is not None:
            _require_unseen(job.photos, photos, name)
    return TreatmentSettings(train, validation, **_treatment_options(args))


def _treatment_options(args: argparse.Namespace) -> dict[str, Any]:
    names = ("epochs", "learning_rate", "channel", "space", "margin", "as_in_paper", "seed", "control", "allow_worse")
    given = given_values(args, names)
    return given if args.space_layers is None else given | {"space_layers": tuple(args.space_layers)}


def _photos_of(args: argparse.Namespace, job: LoadedJob, kind: str) -> LabelledPhotos | None:
    """Images for another purpose; in the folder of the images to examine if none of their own is named."""
    from captum_paramsal.cli.loading import more_photos  # noqa: PLC0415

    labels = getattr(args, f"{kind}_labels")
    folder = getattr(args, f"{kind}_images") or args.images
    return None if labels is None else more_photos(job, labels, folder, args.boxes)


def _require_unseen(held_out: LabelledPhotos, photos: LabelledPhotos, name: str) -> None:
    """A treatment that was trained on the images it is judged by would always look good.

    Raises:
        SourceError: Images that are in both.
    """
    from captum_paramsal.errors import SourceError  # noqa: PLC0415

    both = sorted(set(held_out.paths()) & set(photos.paths()))
    if both:
        message = (
            f"Expected images in `{name}` that are not among those to judge the treatment by, got {len(both)} that are "
            f"both, such as '{both[0].name}'. Leave them out of one of the tables."
        )
        raise SourceError(message)


def _save_weights(checkup: DoctorReport, path: Path) -> None:
    from captum_paramsal.errors import SourceError  # noqa: PLC0415
    from captum_paramsal.sources import save_weights  # noqa: PLC0415

    if checkup.treated is None:
        message = "Expected a treated model to save."
        raise SourceError(message)
    save_weights(checkup.treated, path)


def _announce(checkup: DoctorReport, report: Path) -> None:
    say_accuracy(checkup)
    say(f"layer {checkup.diagnosis.layer}, {checkup.diagnosis.channels} channels")
    for caveat in checkup.caveats:
        say(f"note: {caveat}")
    result = checkup.treatment
    if result is not None:
        say(
            f"treated: accuracy {result.accuracy_before:.1%} -> {result.accuracy_after:.1%}, {len(result.cured)} cured"
            f", {len(result.broken)} broken (McNemar p {result.p_value:.2g}), epoch {result.best_epoch} of "
            f"{result.settings['epochs']}"
        )
        if result.control is not None:
            control = result.control
            say(
                f"without constraints: accuracy {control.accuracy:.1%}, {control.cured} cured, {control.broken} broken "
                f"(McNemar p of the difference {control.p_value:.2g})"
            )
    say(report.resolve())
