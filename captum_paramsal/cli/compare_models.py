"""``captum-paramsal compare-models``: what differs between two checkpoints, as a report."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from captum_paramsal.cli.numbers import natural, positive
from captum_paramsal.cli.options import (
    Commands,
    add_command,
    add_compute_options,
    add_out_option,
    add_source_options,
    require_photos_or_demo,
)
from captum_paramsal.cli.saying import and_skipped, say

if TYPE_CHECKING:
    from captum_paramsal.report import ModelComparisonReport, ModelComparisonSettings

_OF_PHOTOS = (
    *("other", "other_weights", "weights", "output", "labels", "classes"),
    *("image_size", "resize", "mean", "std"),
)
_NAMED = 3
_DESCRIPTION = """\
Compare two checkpoints of one architecture, A and B, such as those before and after a retraining: which images only one
gets right, which filters moved unusually far, what the difference in loss is made of (filters, norms and their running
statistics, the rest), and which neurons and pixels differ on those images, next to images that both get right. Writes
report.html (one file, opens anywhere), models.json, filters.csv, images.csv, layers.csv, models.safetensors,
differences.safetensors and the figures as PNG.

Without --model and --data, the built-in demo is compared with a copy that has noise and one damaged filter.
"""
_EPILOG = """\
examples:
  captum-paramsal compare-models
  captum-paramsal compare-models --model squeezenet1_1 --weights before.safetensors --other-weights after.safetensors \\
      --data val/images --labels val/labels.csv --out report
  captum-paramsal compare-models --model mypackage.models:before --other mypackage.models:after --data photos
"""


def add_to(commands: Commands, summary: str) -> None:
    """Add the subcommand to a parser."""
    parser = add_command(commands, "compare-models", summary, description=_DESCRIPTION, epilog=_EPILOG)
    add_source_options(parser, optional_images=True, images_option="--data")
    other = parser.add_argument_group("the other checkpoint")
    other.add_argument("--other", metavar="M", help="named like --model, whose architecture it has (default --model)")
    other.add_argument("--other-weights", metavar="W", help="its weights, given like --weights")
    sizes = parser.add_argument_group("sizes")
    sizes.add_argument(
        "--limit", metavar="N", type=positive, help="images at most, evenly spread over all of them; all by default"
    )
    sizes.add_argument(
        "--explained",
        metavar="N",
        type=positive,
        default=16,
        help="images right in A only, in B only and in both whose neurons and pixels are compared (default 16 of each)",
    )
    sizes.add_argument(
        "--steps",
        metavar="N",
        type=positive,
        default=5,
        help="places between the checkpoints at which gradients are taken (default 5)",
    )
    report = parser.add_argument_group("report")
    add_out_option(report, "paramsal-models")
    report.add_argument(
        "--pictures", metavar="N", type=natural, default=4, help="images of each kind whose maps are shown (default 4)"
    )
    add_compute_options(parser)
    parser.set_defaults(run=run, parser=parser)


def run(args: argparse.Namespace) -> int:
    """Load, compare, write, say where."""
    require_photos_or_demo(args, _OF_PHOTOS, "compare the demo with a damaged copy", "--data")
    if args.model is not None and args.other is None and args.other_weights is None:
        args.parser.error("--other or --other-weights is needed: the checkpoint to compare with")

    from captum_paramsal.report.shared.folder import open_report_folder  # noqa: PLC0415

    folder = open_report_folder(args.out, "models.json")
    compared = _on_demo(args) if args.model is None else _on_photos(args)
    _announce(compared, compared.write(folder, command=args.command))
    return 0


def _on_photos(args: argparse.Namespace) -> ModelComparisonReport:
    from captum_paramsal.cli.loading import about_photos, load_job, load_other  # noqa: PLC0415
    from captum_paramsal.report import About, compare_models  # noqa: PLC0415

    job = load_job(args)
    return compare_models(
        job.model,
        load_other(args),
        job.photos,
        settings=_settings(args),
        classes=job.classes,
        about=about_photos(args, job, None),
        other=About(model=args.other or args.model, weights=args.other_weights or ""),
    )


def _on_demo(args: argparse.Namespace) -> ModelComparisonReport:
    from captum_paramsal import demo  # noqa: PLC0415
    from captum_paramsal.cli.demo_images import ABOUT, DAMAGED, damaged_model, labelled  # noqa: PLC0415
    from captum_paramsal.report import compare_models  # noqa: PLC0415

    return compare_models(
        demo.load_model(),
        damaged_model(),
        labelled(demo.load_scenes("test")),
        settings=_settings(args),
        classes=dict(enumerate(demo.CLASSES)),
        about=ABOUT,
        other=DAMAGED,
    )


def _settings(args: argparse.Namespace) -> ModelComparisonSettings:
    from captum_paramsal.cli.loading import computation  # noqa: PLC0415
    from captum_paramsal.report import ModelComparisonSettings  # noqa: PLC0415

    return ModelComparisonSettings(
        limit=args.limit,
        explained=args.explained,
        shown=args.pictures,
        steps=args.steps,
        layers=args.layers,
        **computation(args),
    )


def _announce(compared: ModelComparisonReport, report: Path) -> None:
    say(
        f"{compared.image_count} images, accuracy {compared.accuracy:.1%} in A and {compared.other_accuracy:.1%} in B "
        f"(McNemar p {compared.p_value:.2g}){and_skipped(compared.skipped)}"
    )
    say(f"right in A only {compared.only_a}, in B only {compared.only_b}, in both {compared.both}")
    moved = [str(row.filter) for row in compared.comparison.top(_NAMED) if row.change > 0]
    say(f"moved most: {', '.join(moved) or 'no filter'}")
    for caveat in compared.caveats:
        say(f"note: {caveat}")
    say(report.resolve())
