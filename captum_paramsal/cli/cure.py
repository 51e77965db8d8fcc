"""``captum-paramsal cure``: few filters changed until mistakes go away, proven on unseen images, as a report."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from captum_paramsal.cli.numbers import natural, positive, rate, share, step, strength
from captum_paramsal.cli.options import (
    Commands,
    add_command,
    add_compute_options,
    add_out_option,
    add_source_options,
    given_values,
    require_new_places,
    require_photos_or_demo,
    weights_file,
)
from captum_paramsal.cli.saying import REFUSED, say, say_accuracy

if TYPE_CHECKING:
    from torch import nn

    from captum_paramsal.reference import Reference
    from captum_paramsal.report import CureReport, CureReportSettings, TriageReport
    from captum_paramsal.sources import ClassNames, ImageSource

_OF_PHOTOS = (
    *("weights", "output", "labels", "classes", "reference", "keep_labels", "keep_images"),
    *("image_size", "resize", "mean", "std"),
)
_DESCRIPTION = """\
Change few filters, or what else cures more, until mistakes go away, by half of the mistakes and of the images that the
model gets right; a fifth of both chooses what is changed and how far, and the rest, unseen, accepts or refuses the
change. Mistakes are all of the images given, those of one pair of classes, or a group of a triage. Writes report.html
(one file, opens anywhere), cure.json, cure.csv and, of a cure that is kept, cured.patch.safetensors, which
`captum-paramsal patch` puts on the weights and takes off again.

Without --model and IMAGES_DIR, mistakes of the built-in demo are to be cured: a small network, and generated scenes.
"""
_EPILOG = """\
examples:
  captum-paramsal cure
  captum-paramsal cure --model resnet50 --weights best.pt --labels val.csv --pair husky wolf --out report photos
  captum-paramsal triage --model resnet50 --weights best.pt --labels val.csv photos
  captum-paramsal cure --model resnet50 --weights best.pt --labels val.csv --triage paramsal-triage --group 0 photos
"""


def add_to(commands: Commands, summary: str) -> None:
    """Add the subcommand to a parser."""
    parser = add_command(commands, "cure", summary, description=_DESCRIPTION, epilog=_EPILOG)
    add_source_options(parser, optional_images=True)
    _add_which_options(parser.add_argument_group("what is cured, and what must stay"))
    _add_cure_options(parser.add_argument_group("cure"))
    report = parser.add_argument_group("report")
    add_out_option(report, "paramsal-cure")
    report.add_argument(
        "--save-weights", metavar="FILE", type=weights_file, help="also write the cured weights, as safetensors"
    )
    report.add_argument(
        "--pictures", metavar="N", type=natural, default=12, help="images of each kind that are shown (default 12)"
    )
    add_compute_options(parser, layers=False)
    parser.set_defaults(run=run, parser=parser)


def _add_which_options(which: argparse._ArgumentGroup) -> None:
    which.add_argument(
        "--pair",
        metavar=("LABEL", "PREDICTED"),
        nargs=2,
        help="cure images of one class that are taken for another, by numbers or names; all mistakes by default",
    )
    which.add_argument(
        "--triage", metavar="PATH", type=Path, help="report of `captum-paramsal triage` on these images: its folder"
    )
    which.add_argument("--group", metavar="N", type=natural, help="cure this group of the triage; 0 is the largest")
    which.add_argument(
        "--keep-labels",
        metavar="CSV",
        type=Path,
        help="table of other images that must stay right; by default those of the images given that are right",
    )
    which.add_argument(
        "--keep-images", metavar="DIR", type=Path, help="their folder, if it is not IMAGES_DIR; needs --keep-labels"
    )
    which.add_argument(
        "--limit", metavar="N", type=positive, help="images at most, evenly spread over all of them; all by default"
    )


def _add_cure_options(how: argparse._ArgumentGroup) -> None:
    how.add_argument(
        "--change",
        choices=("any", "filters", "norms", "last-layer", "whole-network"),
        default="any",
        help="what is changed: the suspected filters; all norms' factors and offsets, which often cure more where no "
        "filter is damaged; or any of these (the default), whichever does best before it is judged",
    )
    how.add_argument("--count", metavar="N", type=positive, help="filters that are changed at most (default 5)")
    how.add_argument("--steps", metavar="N", type=positive, help="steps of Adam (default 90)")
    how.add_argument(
        "--learning-rate",
        metavar="R",
        type=step,
        help="length of a step, as a share of the weights (default 0.03); the whole network takes a tenth of it",
    )
    how.add_argument(
        "--keep", metavar="S", type=strength, help="strength of what must stay, beside the mistakes (default 10)"
    )
    how.add_argument(
        "--most-broken",
        metavar="SHARE",
        type=share,
        help="share of unseen right images that may break, at most (default 0.005)",
    )
    how.add_argument(
        "--least-cured",
        metavar="SHARE",
        type=share,
        help="share of unseen mistakes that must be cured, at least (default 0)",
    )
    how.add_argument(
        "--level",
        metavar="P",
        type=rate,
        help="chance, at most, that a change that cures as often as it breaks is kept (default 0.05)",
    )
    how.add_argument("--seed", metavar="N", type=natural, help="of the division and the batches (default 0)")
    how.add_argument(
        "--reference", metavar="FILE", type=Path, help="from `captum-paramsal reference`, to choose the filters by"
    )
    how.add_argument(
        "--alternatives",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="spend the same budget on the others of these and on random filters, too (the "
        "default; it takes five times as long)",
    )


def run(args: argparse.Namespace) -> int:
    """Load, cure, write, say where."""
    _require_options_that_go_together(args)

    from captum_paramsal.files import open_place  # noqa: PLC0415
    from captum_paramsal.report import CureReport  # noqa: PLC0415
    from captum_paramsal.report.shared.folder import open_report_folder  # noqa: PLC0415

    require_new_places(args, ("save_weights",), CureReport.files)
    folder = open_report_folder(args.out, "cure.json")
    if args.save_weights is not None:
        open_place(args.save_weights)
    model, cured = _on_demo(args) if args.model is None else _on_photos(args)
    report = cured.write(folder, command=args.command)
    status = 0 if args.save_weights is None else _save_weights(cured, model, args.save_weights)
    _announce(cured)
    say(report.resolve())
    return status


def _require_options_that_go_together(args: argparse.Namespace) -> None:
    require_photos_or_demo(args, _OF_PHOTOS, "cure the demo")
    if (args.triage is None) != (args.group is None):
        args.parser.error("--triage and --group go together: the report, and which of its groups")
    if args.pair is not None and args.group is not None:
        args.parser.error("--pair and --group exclude each other")
    if args.keep_images is not None and args.keep_labels is None:
        args.parser.error("--keep-images: needs --keep-labels")


def _on_photos(args: argparse.Namespace) -> tuple[nn.Module, CureReport]:
    from captum_paramsal.cli.loading import about_photos, load_job, more_photos  # noqa: PLC0415
    from captum_paramsal.reference.reference import Reference  # noqa: PLC0415
    from captum_paramsal.report import cure  # noqa: PLC0415

    reference: Reference | None = None if args.reference is None else Reference.load(args.reference)
    # Two tables may share one folder.
    job = load_job(args, unlisted=args.keep_labels is None)
    keep = None
    if args.keep_labels is not None:
        keep = more_photos(job, args.keep_labels, args.keep_images or args.images, None)
    return job.model, cure(
        job.model,
        job.photos,
        reference,
        keep=keep,
        settings=_settings(args, job.classes),
        classes=job.classes,
        about=about_photos(args, job, args.reference),
        **_group(args, _triage_of(args), job.model, job.photos),
    )


def _on_demo(args: argparse.Namespace) -> tuple[nn.Module, CureReport]:
    from captum_paramsal import demo  # noqa: PLC0415
    from captum_paramsal.cli.demo_images import ABOUT, CURED, labelled, scenes_to_cure  # noqa: PLC0415
    from captum_paramsal.report import cure  # noqa: PLC0415
    from captum_paramsal.sources import ClassNames  # noqa: PLC0415

    model, classes = demo.load_model(), ClassNames(dict(enumerate(demo.CLASSES)))
    # A triage of the demo is one of the split test, unless it looked for cures itself.
    sorted_out = _triage_of(args)
    of_test = sorted_out is not None and sorted_out.context["images"]["origin"] == ABOUT.images
    images = labelled(demo.load_scenes("test") if of_test else scenes_to_cure())
    return model, cure(
        model,
        images,
        settings=_settings(args, classes),
        classes=classes,
        about=ABOUT if of_test else CURED,
        **_group(args, sorted_out, model, images),
    )


def _settings(args: argparse.Namespace, classes: ClassNames) -> CureReportSettings:
    from captum_paramsal.cli.loading import computation  # noqa: PLC0415
    from captum_paramsal.repair import AcceptanceRule, CureSettings  # noqa: PLC0415
    from captum_paramsal.report import CureReportSettings  # noqa: PLC0415

    rule = AcceptanceRule(**given_values(args, ("level", "most_broken", "least_cured")))
    pair = None
    if args.pair is not None:
        numbers = classes.numbers(args.pair)
        pair = numbers[args.pair[0]], numbers[args.pair[1]]
    given = given_values(args, ("count", "steps", "learning_rate", "keep", "seed"))
    return CureReportSettings(
        cure=CureSettings(change=args.change.replace("-", " "), rule=rule, **given),
        pair=pair,
        alternatives=args.alternatives,
        shown=args.pictures,
        limit=args.limit,
        **computation(args),
    )


def _triage_of(args: argparse.Namespace) -> TriageReport | None:
    """The triage that a group is taken of; None where none is."""
    from captum_paramsal.report import TriageReport  # noqa: PLC0415

    return None if args.triage is None else TriageReport.load(args.triage)


def _group(
    args: argparse.Namespace, sorted_out: TriageReport | None, model: nn.Module, images: ImageSource
) -> dict[str, Any]:
    """The mistakes of a group of a triage, among images of the same names, and what they are called.

    Raises:
        SourceError: A triage of another model, or of other images.
        InputError: It has no such group.
    """
    if sorted_out is None:
        return {}

    from captum_paramsal.errors import SourceError  # noqa: PLC0415
    from captum_paramsal.files import Fingerprint  # noqa: PLC0415

    theirs, ours = sorted_out.context["model"]["fingerprint"], Fingerprint.of(model).short
    if theirs != ours:
        message = (
            f"Expected a triage of this model, whose weights have the fingerprint {ours}, got one of {theirs} at "
            f"'{args.triage}'."
        )
        raise SourceError(message)
    members = [sorted_out.items[number] for number in sorted_out.triage.members(args.group).tolist()]
    positions = {(item.name, item.label): position for position, item in enumerate(images.items)}
    strange = [item for item in members if (item.name, item.label) not in positions]
    if strange:
        message = (
            f"Expected a triage of these images, got one with {len(strange)} of {len(members)} in group {args.group} "
            f"that are not among them with this label, such as '{strange[0].name}' of class {strange[0].label}."
        )
        raise SourceError(message)
    return {
        "mistakes": [positions[item.name, item.label] for item in members],
        "mistakes_from": f"group {args.group} of the triage",
    }


def _save_weights(cured: CureReport, model: nn.Module, path: Path) -> int:
    """Write the weights of a cure that is kept; the exit status."""
    from captum_paramsal.sources import save_weights  # noqa: PLC0415

    if not cured.cure.kept:
        say(f"captum-paramsal: no weights were written to '{path}', since the cure is not kept.", file=sys.stderr)
        return REFUSED
    cured.cure.apply(model)
    save_weights(model, path)
    return 0


def _announce(cured: CureReport) -> None:
    say_accuracy(cured)
    chosen, keep = cured.context["chosen"], cured.context["keep"]
    say(f"to cure: {chosen['which']}, {chosen['mistakes']} images; must stay right: {keep['images']} images")
    say(cured.cure)
    if cured.cure.context["numbers"]:
        say(f"changed: {cured.cure.changed}, {cured.cure.context['numbers']:,} numbers")
    for one in cured.cure.alternatives:
        say(f"{one.name} instead: {one.verdict.reason}")
    for caveat in cured.caveats:
        say(f"note: {caveat}")
