"""``captum-paramsal triage``: all mistakes of a set, sorted by what made them, as a report."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from captum_paramsal.cli.numbers import positive, rate, several
from captum_paramsal.cli.options import (
    Commands,
    add_checkpoint_option,
    add_command,
    add_compute_options,
    add_out_option,
    add_source_options,
    require_photos_or_demo,
)
from captum_paramsal.cli.saying import say, say_accuracy
from captum_paramsal.files.text import number_of

if TYPE_CHECKING:
    from captum_paramsal.cli.group import CommandGroup
    from captum_paramsal.report import TriageReport, TriageSettings

_OF_PHOTOS = ("weights", "output", "labels", "classes", "reference", "image_size", "resize", "mean", "std")
_DESCRIPTION = """\
Sort all mistakes among labelled images: which classes are confused, which filters are more salient in mistakes than in
right images of the same class (false discovery rate controlled), which mistakes belong together because the same
filters stand out, and which filters each group wants changed, all in one direction. Writes report.html (one file, opens
anywhere), triage.json, triage.csv, mistakes.csv, triage.safetensors and the figures as PNG.

With --cure, few filters are changed for one group after the other, and the change is kept only if images that took no
part say that it helps and harms nothing; writes cures.csv and a patch for each cured group, too.

Without --model and IMAGES_DIR, the mistakes of the built-in demo are sorted: a small network, and generated scenes.
"""
_EPILOG = """\
examples:
  captum-paramsal triage
  captum-paramsal triage --model squeezenet1_1 --weights squeezenet1_1.safetensors \\
      --reference squeezenet.reference.safetensors --labels val/labels.csv --out report val/images
  captum-paramsal triage --cure --out cured
  captum-paramsal triage --model mypackage.models:build --weights best.pt --layers "layer4.*" --smallest 5 photos/
"""


def add_to(commands: Commands, summary: str) -> None:
    """Add the subcommand to a parser."""
    parser = add_command(commands, "triage", summary, description=_DESCRIPTION, epilog=_EPILOG)
    add_source_options(parser, optional_images=True)
    sorting = parser.add_argument_group("triage")
    sorting.add_argument(
        "--reference",
        metavar="FILE",
        type=Path,
        help="from `captum-paramsal reference`; by default it is taken on the very images given",
    )
    sorting.add_argument(
        "--level",
        metavar="Q",
        type=rate,
        default=0.05,
        help="false discovery rate of the filters that are called significant (default 0.05)",
    )
    sorting.add_argument(
        "--smallest", metavar="N", type=several, default=3, help="mistakes that a group has at least (default 3)"
    )
    sorting.add_argument(
        "--limit", metavar="N", type=positive, help="images at most, evenly spread over all of them; all by default"
    )
    sorting.add_argument(
        "--doubts",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="ask the model and similar images whether the labels of the mistakes are right; takes one more forward "
        "pass over all images (default: ask)",
    )
    sorting.add_argument(
        "--cure",
        action="store_true",
        help="look for a cure of each group, one after the other: each ends in cured and kept, refused, or too few",
    )
    add_out_option(parser.add_argument_group("report"), "paramsal-triage")
    add_checkpoint_option(parser)
    add_compute_options(parser)
    parser.set_defaults(run=run, parser=parser)


def run(args: argparse.Namespace) -> int:
    """Load, sort, write, say where; written by the first process of a group."""
    require_photos_or_demo(args, _OF_PHOTOS, "sort the mistakes of the demo")

    from captum_paramsal.cli.group import process_group  # noqa: PLC0415
    from captum_paramsal.report.shared.folder import open_report_folder  # noqa: PLC0415

    folder = open_report_folder(args.out, "triage.json")
    with process_group() as group:
        sorted_out = _of_demo(args, group) if args.model is None else _of_photos(args, group)
        if group.rank == 0:
            _announce(sorted_out, sorted_out.write(folder, command=args.command))
    return 0


def _of_photos(args: argparse.Namespace, group: CommandGroup) -> TriageReport:
    from captum_paramsal.cli.loading import about_photos, load_job  # noqa: PLC0415
    from captum_paramsal.reference.reference import Reference  # noqa: PLC0415
    from captum_paramsal.report import triage  # noqa: PLC0415

    reference = None if args.reference is None else Reference.load(args.reference)
    job = load_job(args)
    about = about_photos(args, job, args.reference)
    settings = _settings(args, group)
    return triage(job.model, job.photos, reference, settings=settings, classes=job.classes, about=about)


def _of_demo(args: argparse.Namespace, group: CommandGroup) -> TriageReport:
    from captum_paramsal import demo  # noqa: PLC0415
    from captum_paramsal.cli.demo_images import ABOUT, CURED, labelled, scenes_to_cure  # noqa: PLC0415
    from captum_paramsal.report import fit_reference, triage  # noqa: PLC0415

    model, settings = demo.load_model(), _settings(args, group)
    reference = fit_reference(
        model,
        labelled(demo.load_scenes("validation")),
        layers=args.layers,
        batch_size=args.batch_size,
        device=settings.device,
        show_progress=settings.show_progress,
    )
    classes = dict(enumerate(demo.CLASSES))
    # The split test has too few mistakes for a group of them to be cured.
    images = labelled(scenes_to_cure() if args.cure else demo.load_scenes("test"))
    about = CURED if args.cure else ABOUT
    return triage(model, images, reference, settings=settings, classes=classes, about=about)


def _settings(args: argparse.Namespace, group: CommandGroup) -> TriageSettings:
    from captum_paramsal.cli.loading import computation  # noqa: PLC0415
    from captum_paramsal.repair import CureSettings  # noqa: PLC0415
    from captum_paramsal.report import TriageSettings  # noqa: PLC0415

    return TriageSettings(
        level=args.level,
        smallest=args.smallest,
        layers=args.layers,
        limit=args.limit,
        doubts=args.doubts,
        cure=CureSettings() if args.cure else None,
        checkpoint=args.checkpoint,
        **computation(args, group),
    )


def _announce(sorted_out: TriageReport, report: Path) -> None:
    mistakes = sorted_out.triage
    say_accuracy(sorted_out)
    label, predicted, count = sorted_out.pairs_among(range(len(mistakes)))[0]
    say(f"most often: {label} taken for {predicted}, {count} of {len(mistakes)}")
    say(f"{int(mistakes.significant.sum())} of {len(mistakes.filters)} filters significantly more salient in mistakes")
    alone = int((mistakes.groups < 0).sum())
    say(f"{number_of(mistakes.group_count, 'group')} of mistakes, {number_of(alone, 'mistake')} in none")
    wrong_labels = len(sorted_out.doubts.likely_wrong)
    if wrong_labels:
        say(f"{wrong_labels} mistakes whose label is worth a look: similar images have another one")
    for row in [] if sorted_out.cures is None else sorted_out.cures.to_table():
        already, given = row["already right"], row["given"]
        before = f"{already} of {given} are right already with the cures before it. " if already else ""
        say(f"group {row['group']}: {before}{row['reason']}")
    for caveat in sorted_out.caveats:
        say(f"note: {caveat}")
    say(report.resolve())
