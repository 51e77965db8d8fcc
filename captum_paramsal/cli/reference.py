"""``captum-paramsal reference``: what every filter usually does, into a file."""

from __future__ import annotations

import argparse
from pathlib import Path

from captum_paramsal.cli.options import Commands, add_command, add_compute_options, add_source_options

__all__ = ["add_to", "run"]

_DESCRIPTION = """\
Take the mean and standard deviation of every filter's saliency over a set of labelled images, correct and
incorrect alike, and save them for `captum-paramsal explain --reference FILE`. A held-out set of the model's
own kind of images, such as its validation set, is the right one; hundreds of images will do.
"""

_EPILOG = """\
example:
  captum-paramsal reference --model squeezenet1_1 --weights squeezenet1_1.safetensors \\
      --labels val/labels.csv --out squeezenet.reference.safetensors val/images
"""


def add_to(commands: Commands) -> None:
    """Add the subcommand to a parser."""
    summary = "take the statistics of a reference set and save them"
    parser = add_command(commands, "reference", summary, description=_DESCRIPTION, epilog=_EPILOG)
    add_source_options(parser, optional_images=False)
    parser.add_argument("--out", metavar="FILE", type=Path, required=True, help="safetensors file to write")
    add_compute_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Load, fit, save."""
    from captum_paramsal.cli.loading import choose_device, load_job, shows_progress  # noqa: PLC0415
    from captum_paramsal.report import fit_reference, open_folder  # noqa: PLC0415

    open_folder(args.out.parent)
    job = load_job(args)
    reference = fit_reference(
        job.model,
        job.photos,
        layers=args.layers,
        batch_size=args.batch_size,
        device=choose_device(args.device),
        show_progress=shows_progress(args),
    )
    reference.save(args.out)
    print(f"{reference.count} images, {len(reference.filters)} filters in {len(reference.filters.layers)} layers")
    for skip in job.photos.skipped:
        print(f"skipped {skip.name}: {skip.reason}")
    print(args.out.resolve())
    return 0
