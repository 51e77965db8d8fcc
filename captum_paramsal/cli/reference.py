"""``captum-paramsal reference``: what every filter usually does, into a file."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from captum_paramsal.cli.options import (
    Commands,
    add_command,
    add_compute_options,
    add_source_options,
    require_new_places,
)
from captum_paramsal.cli.saying import say

if TYPE_CHECKING:
    from captum_paramsal.reference import Reference
    from captum_paramsal.sources import Skipped

_NAMED = 10
"""Files that were left out that are named."""
_DESCRIPTION = """\
Take the mean and standard deviation of every filter's saliency over a set of labelled images, correct and
incorrect alike, with the upper tail that `explain --method pot` needs, and save them for
`captum-paramsal explain --reference FILE`. A held-out set of the model's own kind of images, such as its validation
set, is the right one; hundreds of images will do for means, a thousand and more for tails.
"""

_EPILOG = """\
examples:
  captum-paramsal reference --model squeezenet1_1 --weights squeezenet1_1.safetensors \\
      --labels val/labels.csv --out squeezenet.reference.safetensors val/images
  torchrun --nproc-per-node 4 -m captum_paramsal reference --checkpoint pass.ckpt --model resnet50 ...
      Share the pass between four processes, each going on from where it was if started again.
"""


def add_to(commands: Commands, summary: str) -> None:
    """Add the subcommand to a parser."""
    parser = add_command(commands, "reference", summary, description=_DESCRIPTION, epilog=_EPILOG)
    add_source_options(parser, optional_images=False)
    statistics = parser.add_argument_group("statistics")
    statistics.add_argument("--out", metavar="FILE", type=Path, required=True, help="safetensors file to write")
    statistics.add_argument(
        "--tail",
        metavar="SHARE",
        type=float,
        default=0.10,
        help="share of the images in each filter's upper tail, in (0, 0.5]; 0 for no tails (default 0.10)",
    )
    statistics.add_argument(
        "--exemplars",
        metavar="K",
        type=int,
        default=0,
        help="images that are kept of each filter, those in which it is most active; 0 for none (default 0)",
    )
    statistics.add_argument(
        "--checkpoint",
        metavar="FILE",
        type=Path,
        help="write the pass here now and then; started again, it resumes from there. Removed at the end",
    )
    add_compute_options(parser)
    parser.set_defaults(run=run, parser=parser)


def run(args: argparse.Namespace) -> int:
    """Load, fit, save; in each process of a group, saved by the first one."""
    from captum_paramsal.cli.group import process_group  # noqa: PLC0415
    from captum_paramsal.cli.loading import choose_device, load_job, shows_progress  # noqa: PLC0415
    from captum_paramsal.files import open_place  # noqa: PLC0415
    from captum_paramsal.report import fit_reference  # noqa: PLC0415
    from captum_paramsal.report.shared.predictions import sampled_caveats  # noqa: PLC0415
    from captum_paramsal.sources import skipped_by_all  # noqa: PLC0415

    require_new_places(args, ("out", "checkpoint"))
    open_place(args.out)
    if args.checkpoint is not None:
        open_place(args.checkpoint)
    with process_group() as group:
        job = load_job(args)
        device = args.device or group.device or choose_device(None)
        caveats = sampled_caveats(job.model, job.photos, batch_size=args.batch_size, device=device)
        if group.rank == 0:
            for caveat in caveats:
                say(f"note: {caveat}")
        reference = fit_reference(
            job.model,
            job.photos,
            layers=args.layers,
            tail=args.tail or None,
            exemplars=args.exemplars or None,
            batch_size=args.batch_size,
            device=device,
            checkpoint=args.checkpoint,
            show_progress=shows_progress(args),
        )
        skipped = skipped_by_all(job.photos)
        if group.rank == 0:
            reference.save(args.out)
            _announce(reference, skipped, args.out)
        # No checkpoint goes before the reference is safe.
        group.gather(None)
        if args.checkpoint is not None:
            group.own_file(args.checkpoint).unlink(missing_ok=True)
    return 0


def _announce(reference: Reference, skipped: Sequence[Skipped], out: Path) -> None:
    say(f"{reference.count} images, {len(reference.filters)} filters in {len(reference.filters.layers)} layers")
    if reference.tail is not None:
        from captum_paramsal.stats import median  # noqa: PLC0415

        typical = int(median(reference.tail.exceedances))
        say(f"upper tail: {reference.tail.fraction:g} of the images, {typical} excesses for a typical filter")
    if reference.exemplar_table is not None:
        say(f"exemplars: {reference.exemplar_table.k} images of each filter")
    for skip in skipped[:_NAMED]:
        say(f"skipped {skip.name}: {skip.reason}")
    if len(skipped) > _NAMED:
        say(f"skipped {len(skipped) - _NAMED:,} more")
    say(out.resolve())
