"""``captum-paramsal explain``: every mistake and its filters, as a report."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from captum_paramsal.cli.numbers import natural, positive
from captum_paramsal.cli.options import (
    Commands,
    add_checkpoint_option,
    add_command,
    add_compute_options,
    add_method_options,
    add_out_option,
    add_source_options,
    require_photos_or_demo,
)
from captum_paramsal.cli.saying import say, say_accuracy
from captum_paramsal.files.text import number_of

if TYPE_CHECKING:
    from captum_paramsal.cli.group import CommandGroup
    from captum_paramsal.report import ExplainSettings, Explanation

_DESCRIPTION = """\
Classify labelled images, and name for every mistake the filters whose weights it pulls at unusually hard, the
pixels that drive them, and where the evidence for the true and for the predicted class was gathered. Writes
report.html (one file, opens anywhere), explanation.json and filters.csv.

Without --model and IMAGES_DIR, the built-in demo is explained: a small network, and generated scenes whose
background leads it astray.
"""

_EPILOG = """\
examples:
  captum-paramsal explain
  captum-paramsal explain --method pot
  captum-paramsal explain --model squeezenet1_1 --weights squeezenet1_1.safetensors \\
      --reference squeezenet.reference.safetensors --labels val/labels.csv --out report val/images
  captum-paramsal explain --model mypackage.models:build --weights best.pt --image-size 128 photos/
"""


_OF_PHOTOS = (
    "weights",
    "output",
    "labels",
    "classes",
    "reference",
    "reference_images",
    "image_size",
    "resize",
    "mean",
    "std",
)


def add_to(commands: Commands, summary: str) -> None:
    """Add the subcommand to a parser."""
    parser = add_command(commands, "explain", summary, description=_DESCRIPTION, epilog=_EPILOG)
    add_source_options(parser, optional_images=True)
    report = parser.add_argument_group("report")
    add_method_options(report)
    _add_reference_options(report)
    add_out_option(report, "paramsal-report")
    _add_card_options(report)
    _add_shown_options(report)
    add_checkpoint_option(parser)
    add_compute_options(parser)
    parser.set_defaults(run=run, parser=parser)


def _add_reference_options(report: argparse._ArgumentGroup) -> None:
    report.add_argument(
        "--reference",
        metavar="FILE",
        type=Path,
        help="from `captum-paramsal reference`; by default it is taken on the very images given",
    )
    report.add_argument(
        "--reference-images",
        metavar="DIR",
        type=Path,
        help="folder of the images that the reference was taken on, to show what the usual suspects look for; by "
        "default they are looked for among the images given",
    )


def _add_card_options(report: argparse._ArgumentGroup) -> None:
    report.add_argument(
        "--top-k", metavar="K", type=positive, help="filters per mistake (default 10, or all where there are fewer)"
    )
    report.add_argument(
        "--cards",
        metavar="N",
        type=positive,
        default=300,
        help="mistakes with a picture in the report, the most confident first; the data has all (default 300)",
    )


def _add_shown_options(report: argparse._ArgumentGroup) -> None:
    """What is shown beside a mistake's picture and filters, and kept."""
    report.add_argument(
        "--pixels",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="beside these pictures, the pixels that drive the guilty filters; takes about five training steps for "
        "each (default: with them)",
    )
    report.add_argument(
        "--traces",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="beside these pictures, where the evidence for the true and for the predicted class was gathered; takes "
        "about two training steps for each (default: with them)",
    )
    report.add_argument(
        "--paths",
        metavar="N",
        type=natural,
        help="of these mistakes, the most confident first, so many show the way from the wrong class through the "
        "guiltiest filter that the trace passes to the pixels; takes about one training step for each; 0 for none "
        "(default 50)",
    )
    report.add_argument(
        "--exemplars",
        metavar="K",
        type=natural,
        default=9,
        help="images that are kept of each filter, where the reference is taken on the images given, to show what the "
        "usual suspects look for; 0 for none (default 9)",
    )
    report.add_argument(
        "--save-pixels",
        action="store_true",
        help="also write the pixel maps as they are before display, into pixels.safetensors",
    )


def run(args: argparse.Namespace) -> int:
    """Load, explain, write, say where; written by the first process of a group."""
    require_photos_or_demo(args, _OF_PHOTOS, "explain the demo")
    if args.fit is not None and args.method != "pot":
        args.parser.error("--fit: needs --method pot, whose tails are fitted")
    if args.reference_images is not None and args.reference is None:
        args.parser.error("--reference-images: needs --reference, which was taken on them")
    if args.paths and not args.traces:
        args.parser.error("--paths: needs traces, which --no-traces leaves out")
    if args.save_pixels and not args.pixels:
        args.parser.error("--save-pixels and --no-pixels exclude each other")

    from captum_paramsal.cli.group import process_group  # noqa: PLC0415
    from captum_paramsal.report.shared.folder import open_report_folder  # noqa: PLC0415

    folder = open_report_folder(args.out, "explanation.json")
    with process_group() as group:
        explanation = _explain_demo(args, group) if args.model is None else _explain_photos(args, group)
        if group.rank == 0:
            _announce(explanation, explanation.write(folder, command=args.command))
    return 0


def _explain_photos(args: argparse.Namespace, group: CommandGroup) -> Explanation:
    from captum_paramsal.cli.loading import about_photos, load_job, reference_photos  # noqa: PLC0415
    from captum_paramsal.reference.reference import Reference  # noqa: PLC0415
    from captum_paramsal.report import explain  # noqa: PLC0415

    reference = None if args.reference is None else Reference.load(args.reference)
    job = load_job(args)
    folder: Path | None = args.reference_images
    return explain(
        job.model,
        job.photos,
        reference,
        settings=_settings(args, group),
        classes=job.classes,
        about=about_photos(args, job, args.reference),
        reference_images=None if reference is None or folder is None else reference_photos(job, reference, folder),
    )


def _explain_demo(args: argparse.Namespace, group: CommandGroup) -> Explanation:
    from captum_paramsal import demo  # noqa: PLC0415
    from captum_paramsal.cli.demo_images import ABOUT, labelled  # noqa: PLC0415
    from captum_paramsal.report import explain, fit_reference  # noqa: PLC0415

    model, settings = demo.load_model(), _settings(args, group)
    usual = labelled(demo.load_scenes("validation"))
    reference = fit_reference(
        model,
        usual,
        layers=settings.layers,
        exemplars=settings.exemplars or None,
        batch_size=settings.batch_size,
        device=settings.device,
        show_progress=settings.show_progress,
    )
    images, names = labelled(demo.load_scenes("test")), dict(enumerate(demo.CLASSES))
    return explain(model, images, reference, settings=settings, classes=names, about=ABOUT, reference_images=usual)


def _settings(args: argparse.Namespace, group: CommandGroup) -> ExplainSettings:
    from captum_paramsal.cli.loading import computation  # noqa: PLC0415
    from captum_paramsal.report import ExplainSettings  # noqa: PLC0415

    return ExplainSettings(
        method=args.method,
        fit=args.fit or "mle",
        top_k=args.top_k,
        layers=args.layers,
        cards=args.cards,
        pixels=args.pixels,
        keep_pixels=args.save_pixels,
        traces=args.traces,
        **({} if args.paths is None else {"paths": args.paths}),
        exemplars=args.exemplars,
        checkpoint=args.checkpoint,
        **computation(args, group),
    )


def _announce(explanation: Explanation, report: Path) -> None:
    say_accuracy(explanation)
    say(f"{len(explanation.filters)} filters in {len(explanation.filters.layers)} layers scored")
    often = sorted(explanation.mistake_group.appearances.items(), key=lambda entry: (-entry[1], entry[0]))
    for column, count in often[:1]:
        name = explanation.filters[column]
        top_k = explanation.context["parameters"]["top_k"]
        say(f"most often guilty: {name}, among the top {top_k} of {number_of(count, 'mistake')}")
    for caveat in explanation.caveats:
        say(f"note: {caveat}")
    say(report.resolve())
