"""``captum-paramsal annotate``: which pictures to draw on, as a folder to draw in."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

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
    from captum_paramsal.report import AnnotationTask

_DESCRIPTION = """\
Choose the labelled images whose objects are worth marking for a treatment, the least confident of each class, and
write a folder to draw in: annotate.html, a page that draws in any browser and gives one file to put into the folder;
pictures, for labelme; coco.json, for tools that import COCO. `captum-paramsal doctor --treat --train-masks FOLDER`
reads what was drawn, by whichever of them.

Without --model and IMAGES_DIR, scenes of the built-in demo are chosen.
"""

_EPILOG = """\
examples:
  captum-paramsal annotate
  captum-paramsal annotate --model squeezenet1_1 --weights squeezenet1_1.safetensors \\
      --labels train.csv --out to-annotate images
  captum-paramsal doctor --model squeezenet1_1 --weights squeezenet1_1.safetensors --labels test.csv \\
      --treat --train-labels train.csv --train-masks to-annotate images
"""

_OF_PHOTOS = ("weights", "output", "labels", "classes", "image_size", "resize", "mean", "std")


def add_to(commands: Commands, summary: str) -> None:
    """Add the subcommand to a parser."""
    parser = add_command(commands, "annotate", summary, description=_DESCRIPTION, epilog=_EPILOG)
    add_source_options(parser, optional_images=True)
    group = parser.add_argument_group("choice")
    add_out_option(group, "paramsal-annotate")
    group.add_argument(
        "--per-class", metavar="N", type=positive, default=20, help="images of each class, at most (default 20)"
    )
    group.add_argument(
        "--among",
        choices=("all", "correct", "mistakes"),
        default="all",
        help="which images to choose from; least confident is by the probability of the true class, so that of all "
        "(the default) most mistakes come first",
    )
    group.add_argument(
        "--order",
        choices=("least-confident", "random"),
        default="least-confident",
        help="which come first: the least confident ones, as in the paper (default), or any, which may serve "
        "better where the background misleads the model",
    )
    group.add_argument("--seed", metavar="N", type=natural, default=0, help="of the random order (default 0)")
    add_compute_options(parser, layers=False)
    parser.set_defaults(run=run, parser=parser)


def run(args: argparse.Namespace) -> int:
    """Load, choose, write, say where."""
    require_photos_or_demo(args, _OF_PHOTOS, "choose scenes of the demo")

    from captum_paramsal.cli.loading import shows_progress  # noqa: PLC0415
    from captum_paramsal.report.annotate.report import open_annotation_folder  # noqa: PLC0415

    folder = open_annotation_folder(args.out)
    task = _of_demo(args) if args.model is None else _of_photos(args)
    page = task.write(folder, show_progress=shows_progress(args))
    say(f"{len(task)} of {task.images} images, {args.per_class} of each class at most{and_skipped(task.skipped)}")
    for caveat in task.caveats:
        say(f"note: {caveat}")
    say(page.resolve())
    return 0


def _of_photos(args: argparse.Namespace) -> AnnotationTask:
    from captum_paramsal.cli.loading import about_photos, load_job  # noqa: PLC0415
    from captum_paramsal.report import annotate  # noqa: PLC0415

    # Tables to train and to test with may share one folder.
    job = load_job(args, unlisted=False)
    return annotate(job.model, job.photos, classes=job.classes, about=about_photos(args, job, None), **_settings(args))


def _of_demo(args: argparse.Namespace) -> AnnotationTask:
    from captum_paramsal import demo  # noqa: PLC0415
    from captum_paramsal.cli.demo_images import ABOUT, labelled, training_scenes  # noqa: PLC0415
    from captum_paramsal.report import annotate  # noqa: PLC0415

    classes = dict(enumerate(demo.CLASSES))
    return annotate(demo.load_model(), labelled(training_scenes()), classes=classes, about=ABOUT, **_settings(args))


def _settings(args: argparse.Namespace) -> dict[str, Any]:
    from captum_paramsal.cli.loading import computation  # noqa: PLC0415
    from captum_paramsal.report import AnnotationSettings  # noqa: PLC0415

    settings = AnnotationSettings(
        per_class=args.per_class,
        among=args.among,
        order=args.order,
        seed=args.seed,
        **computation(args),
    )
    return {"settings": settings}
