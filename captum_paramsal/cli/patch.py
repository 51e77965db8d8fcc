"""``captum-paramsal patch``: put a patch on weights, or take it off again."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from captum_paramsal.cli.options import Commands, add_command, require_new_places, weights_file
from captum_paramsal.cli.saying import say

if TYPE_CHECKING:
    from captum_paramsal.repair import Patch

_NAMED = 3
_DESCRIPTION = """\
Put a patch, as `cure` and `doctor --treat` write them, on the weights that it was made for, or take it off again. The
result has every bit of what was patched, or of what was there before. Weights that the patch was not made for are
refused, and nothing is written.
"""
_EPILOG = """\
examples:
  captum-paramsal patch report/cured.patch.safetensors --model resnet50 --weights before.pt --out cured.safetensors
  captum-paramsal patch report/cured.patch.safetensors --take-back --model resnet50 --weights cured.safetensors \\
      --out before.safetensors
"""


def add_to(commands: Commands, summary: str) -> None:
    """Add the subcommand to a parser."""
    parser = add_command(commands, "patch", summary, description=_DESCRIPTION, epilog=_EPILOG)
    parser.add_argument("patch", metavar="PATCH", type=Path, help="the patch, a safetensors file")
    parser.add_argument(
        "--model",
        metavar="M",
        required=True,
        help="a torchvision classifier (resnet50), timm:NAME, hf:FOLDER (or a name on the hub), or "
        "package.module:callable; the working directory is importable",
    )
    parser.add_argument(
        "--weights",
        metavar="W",
        help="a safetensors or state-dict file, or the name of published weights such as DEFAULT; "
        "not needed if a folder has them or the callable loads its own",
    )
    parser.add_argument(
        "--out", metavar="FILE", type=weights_file, required=True, help="safetensors file to write the weights to"
    )
    parser.add_argument("--take-back", action="store_true", help="take the patch off weights that have it")
    parser.set_defaults(run=run, parser=parser)


def run(args: argparse.Namespace) -> int:
    """Load, patch, write, say what."""
    require_new_places(args, ("out",))

    from captum_paramsal.cli.loading import load_checkpoint  # noqa: PLC0415
    from captum_paramsal.files import open_place  # noqa: PLC0415
    from captum_paramsal.repair import Patch  # noqa: PLC0415
    from captum_paramsal.sources import save_weights  # noqa: PLC0415

    open_place(args.out)
    patch = Patch.load(args.patch)
    model = load_checkpoint(args.model, args.weights)
    if args.take_back:
        patch.revert(model)
    else:
        patch.apply(model)
    save_weights(model, args.out)
    _announce(patch, taken_back=args.take_back)
    say(args.out.resolve())
    return 0


def _announce(patch: Patch, *, taken_back: bool) -> None:
    numbers = sum(change.changed for change in patch.changes.values())
    done = "taken off" if taken_back else "put on"
    say(f"{done}: {numbers} numbers in {len(patch.changes)} tensors")
    about = patch.about
    if "made by" in about:
        say(f"made by: {about['made by']}, on the model with fingerprint {patch.base.short}")
    if filters := about.get("filters"):
        more = f", and {len(filters) - _NAMED} more" if len(filters) > _NAMED else ""
        say(f"filters: {', '.join(filters[:_NAMED])}{more}")
    elif changed := about.get("changed"):
        say(f"changed: {changed}")
    if "verdict" in about:
        say(f"when made: {about['verdict']}")
