"""``captum-paramsal reproduce``: a figure of the papers, for any model and images."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from captum_paramsal.cli.numbers import natural, positive, strength
from captum_paramsal.cli.options import (
    Commands,
    add_command,
    add_compute_options,
    add_out_option,
    add_source_options,
    require_photos_or_demo,
)
from captum_paramsal.cli.saying import say

if TYPE_CHECKING:
    from torch import nn

    from captum_paramsal.cli.group import CommandGroup
    from captum_paramsal.reproduce import ReproduceSettings, Reproduction
    from captum_paramsal.sources import ImageSource

ALL = "all"
"""In place of a figure: one after the other."""

_OF_PHOTOS = ("weights", "output", "labels", "classes", "reference", "image_size", "resize", "mean", "std")
_SIZES = {
    "knocked": "filters that are knocked out in the end (default 50)",
    "tuned": "filters that take the step, or get noise, in the end (default 25)",
    "controls": "correct images on which each change is tried too (default 1)",
    "neighbors": "nearest neighbours of each mistake (default 10)",
    "stages": "steps in which the network becomes random (default 4)",
    "shown": "mistakes in a picture (default 4)",
}
_DESCRIPTION = """\
Make a figure of the papers for a model and images: pictures (PNG), their numbers with 95 % intervals and controls
(CSV), and how they were made (JSON). All costly work is kept in the folder, in pieces: a run that was stopped goes on
where it was, and figures take from it what they have in common. Under torchrun the work is shared between processes.
The default sizes take minutes on two cores; --full takes every image and every mistake, as the papers do.

Without --model and --data, the figure is made for the built-in demo: a small network, and generated scenes.
"""
_EPILOG = """\
examples:
  captum-paramsal reproduce --list
  captum-paramsal reproduce knock-out
  captum-paramsal reproduce all --model resnet50 --weights DEFAULT --data imagenet/val --full --out resnet50
  captum-paramsal reproduce profiles --model timm:vit_base_patch16_224 --weights DEFAULT --data imagenet-v2
  torchrun --nproc-per-node 8 -m captum_paramsal reproduce knock-out --full --model vgg19 --weights DEFAULT \\
      --data imagenet/val
"""


def add_to(commands: Commands, summary: str) -> None:
    """Add the subcommand to a parser."""
    parser = add_command(commands, "reproduce", summary, description=_DESCRIPTION, epilog=_EPILOG)
    parser.add_argument("figure", metavar="FIGURE", nargs="?", help=f"one that --list names, or {ALL}")
    parser.add_argument("--list", action="store_true", dest="listed", help="name all figures, and do nothing else")
    add_source_options(parser, optional_images=True, images_option="--data")
    sizes = parser.add_argument_group("sizes")
    sizes.add_argument("--full", action="store_true", help="every image, and every mistake among them")
    sizes.add_argument(
        "--limit", metavar="N", type=positive, help="images at most, evenly spread over all of them (default 400)"
    )
    sizes.add_argument(
        "--mistakes", metavar="N", type=positive, help="mistakes of curves, steps and maps, evenly spread (default 16)"
    )
    for name, words in _SIZES.items():
        sizes.add_argument(f"--{name}", metavar="N", type=positive, help=words)
    sizes.add_argument("--learning-rate", metavar="R", type=strength, help="length of the step (default 0.001)")
    sizes.add_argument("--seed", metavar="N", type=natural, help="of random orders, noise and weights (default 0)")
    sizes.add_argument(
        "--reference",
        metavar="FILE",
        type=Path,
        help="from `captum-paramsal reference`; by default it is taken on every second image, used for nothing else",
    )
    for name, default in (("early", "the first half"), ("last", "the last quarter")):
        sizes.add_argument(
            f"--{name}",
            metavar="NAME",
            nargs="+",
            help=f"layers that are {name}, names or patterns (default {default})",
        )
    add_out_option(parser.add_argument_group("figure"), "paramsal-figures")
    add_compute_options(parser)
    parser.set_defaults(run=run, parser=parser)


def run(args: argparse.Namespace) -> int:
    """Make one figure, or all; written by the first process of a group."""
    from captum_paramsal.cli.group import process_group  # noqa: PLC0415
    from captum_paramsal.reproduce import FIGURES, figure_named  # noqa: PLC0415
    from captum_paramsal.reproduce.registry import described_figures  # noqa: PLC0415

    if args.listed:
        say(described_figures())
        return 0
    if args.figure is None:
        args.parser.error(f"a FIGURE is needed, or {ALL}. There are:\n{described_figures()}")
    require_photos_or_demo(args, _OF_PHOTOS, "make the figure for the demo", "--data")
    names = list(FIGURES) if args.figure == ALL else [figure_named(args.figure).name]

    from captum_paramsal.files import open_folder  # noqa: PLC0415

    open_folder(args.out)
    with process_group() as group:
        make = _maker(args, group)
        for name in names:
            try:
                made = make(name)
            except KeyboardInterrupt:
                message = (
                    f"what was finished is kept in '{args.out / 'pieces'}', and the same command goes on from there"
                )
                raise KeyboardInterrupt(message) from None
            if group.rank == 0:
                _announce(made, made.write(args.out))
    return 0


def _maker(args: argparse.Namespace, group: CommandGroup) -> Callable[[str], Reproduction]:
    """Makes figures of what the options ask for, loaded once."""
    from captum_paramsal.cli.loading import about_photos, choose_device, load_job  # noqa: PLC0415
    from captum_paramsal.reference import Reference  # noqa: PLC0415
    from captum_paramsal.reproduce import reproduce  # noqa: PLC0415

    settings = _settings(args, args.device or group.device or choose_device(None))

    def make(figure: str) -> Reproduction:
        return reproduce(
            figure, model, images, args.out, reference=reference, settings=settings, classes=classes, about=about
        )

    model: nn.Module
    images: ImageSource
    classes: Mapping[int, str]
    reference = None if args.reference is None else Reference.load(args.reference)
    if args.model is None:
        from captum_paramsal import demo  # noqa: PLC0415
        from captum_paramsal.cli.demo_images import ABOUT, labelled  # noqa: PLC0415

        model, images, about = demo.load_model(), labelled(demo.load_scenes("test")), ABOUT
        classes = dict(enumerate(demo.CLASSES))
    else:
        job = load_job(args)
        model, images, about = job.model, job.photos, about_photos(args, job, args.reference)
        classes = job.classes
    return make


def _settings(args: argparse.Namespace, device: str) -> ReproduceSettings:
    from captum_paramsal.cli.loading import shows_progress  # noqa: PLC0415
    from captum_paramsal.reproduce import ReproduceSettings  # noqa: PLC0415

    names = ("mistakes", *_SIZES, "learning_rate", "seed")
    sizes = {"images": args.limit} | {name: getattr(args, name) for name in names}
    given = {name: value for name, value in sizes.items() if value is not None}
    make = ReproduceSettings.full if args.full else ReproduceSettings
    return make(
        early=args.early,
        last=args.last,
        layers=args.layers,
        batch_size=args.batch_size,
        device=device,
        show_progress=shows_progress(args),
        **given,
    )


def _announce(made: Reproduction, files: list[Path]) -> None:
    counts = made.context["counts"]
    say(
        f"{made.figure}: {counts['mistakes']} mistakes and {counts['correct']} correct images of {counts['images']}, "
        f"reference of {counts['reference']}"
    )
    for note in made.context["notes"]:
        say(f"note: {note}")
    for skip in made.context["skipped"]:
        say(f"skipped {skip['file']}: {skip['reason']}")
    for file in files:
        say(file.resolve())
