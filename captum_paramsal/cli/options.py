"""Options that several subcommands share."""

from __future__ import annotations

import argparse
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from captum_paramsal.cli.numbers import positive

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # noqa: SLF001 -- has no other name


def add_command(commands: Commands, name: str, summary: str, **text: Any) -> argparse.ArgumentParser:
    """A subcommand whose help keeps the line breaks of its examples."""
    formatter = argparse.RawDescriptionHelpFormatter
    return commands.add_parser(name, help=summary, formatter_class=formatter, allow_abbrev=False, **text)


def add_source_options(
    parser: argparse.ArgumentParser, *, optional_images: bool, boxes: bool = False, images_option: str | None = None
) -> None:
    """Model, weights, images, labels, where objects lie (if asked for), and how photos are prepared.

    Args:
        parser: Of the subcommand.
        optional_images: Whether model and images may be left out.
        boxes: Whether where objects lie is asked for.
        images_option: Name of the option that the folder of images is given by; by its place, if None.
    """
    source = parser.add_argument_group("model and images")
    words = "folder of images; with one folder per class in it, unless --labels names a table"
    if images_option is not None:
        source.add_argument(
            images_option, metavar="FOLDER", dest="images", type=Path, required=not optional_images, help=words
        )
    else:
        source.add_argument(
            "images", metavar="IMAGES_DIR", type=Path, nargs="?" if optional_images else None, help=words
        )
    source.add_argument(
        "--model",
        metavar="M",
        required=not optional_images,
        help="a torchvision classifier (resnet50), timm:NAME, hf:FOLDER (or a name on the hub), or "
        "package.module:callable; the working directory is importable",
    )
    source.add_argument(
        "--weights",
        metavar="W",
        help="a safetensors or state-dict file, or the name of published weights such as DEFAULT; "
        "not needed if a folder has them or the callable loads its own",
    )
    source.add_argument(
        "--output",
        metavar="NAME",
        help="which part of what the model returns holds the class scores: a key, an attribute or a place (0, 1, ...); "
        "not needed for a tensor or `logits`",
    )
    source.add_argument(
        "--labels",
        metavar="CSV",
        type=Path,
        help="table with the columns file and label (number or name of the class); more columns are welcome: "
        "name (of the class), note (shown beside the picture)",
    )
    source.add_argument(
        "--classes",
        metavar="JSON",
        type=Path,
        help="names of the model's classes in order, as a JSON list; those of its library or its own by default",
    )
    if boxes:
        _add_object_options(source)
    _add_preparation_options(parser)


def _add_object_options(source: argparse._ArgumentGroup) -> None:
    """Where objects lie."""
    source.add_argument(
        "--boxes",
        metavar="COLUMN",
        help="column of the tables that says where the object lies: x1 y1 x2 y2 in pixels of the photo as it lies "
        "in the file, several boxes separated by ';' (default boxes, if it is there)",
    )
    source.add_argument(
        "--masks",
        metavar="DIR",
        type=Path,
        help="folder with files of labelme or COCO of what was drawn on images of IMAGES_DIR; in these it takes the "
        "place of boxes",
    )


def _add_preparation_options(parser: argparse.ArgumentParser) -> None:
    """How photos become inputs."""
    photos = parser.add_argument_group("preparation of the photos (by default the one that belongs to the model)")
    photos.add_argument("--image-size", metavar="PX", type=positive, help="side of the square that the model gets")
    photos.add_argument(
        "--resize", choices=("crop", "squash"), help="cut out the centre, or squash the whole photo into the square"
    )
    for name in ("mean", "std"):
        photos.add_argument(
            f"--{name}", metavar="V", type=float, nargs="+", help=f"{name} per channel, for pixels in [0, 1]"
        )


def add_method_options(parser: argparse._ArgumentGroup) -> None:
    """Method, and what belongs to it."""
    parser.add_argument(
        "--method",
        choices=("parameter", "pot"),
        default="parameter",
        help="what a score is: standard deviations above the usual (parameter, the default), or how improbable it is "
        "in the tail of the usual, with p-values (pot)",
    )
    parser.add_argument(
        "--fit",
        choices=("mle", "exponential"),
        help="how the tails of --method pot are fitted: by maximum likelihood (mle, the default), or as exponential, "
        "which the published ranking amounts to",
    )


def add_checkpoint_option(parser: argparse.ArgumentParser) -> None:
    """Where long work is kept, batch by batch."""
    parser.add_argument(
        "--checkpoint",
        metavar="DIR",
        type=Path,
        help="folder to keep what was computed in, batch by batch; started again, the same command resumes from there. "
        "It stays: delete it once the report is written",
    )


def add_compute_options(parser: argparse.ArgumentParser, *, layers: bool = True) -> None:
    """Layers (if asked for), device, batch size, progress."""
    compute = parser.add_argument_group("computation")
    if layers:
        compute.add_argument(
            "--layers",
            metavar="NAME",
            nargs="+",
            help='layers to score, names or patterns such as "layer4.*"; by default (as a name "...") convolutions, '
            "Linear layers at places or tokens and attention heads, but none that holds the class scores",
        )
    compute.add_argument("--device", metavar="D", help="cpu, cuda, cuda:1, mps, ...; cuda if there is one, else cpu")
    compute.add_argument(
        "--batch-size", metavar="B", type=positive, default=32, help="images per pass; bounds memory only (default 32)"
    )
    compute.add_argument(
        "--progress",
        action=argparse.BooleanOptionalAction,
        help="progress bars on standard error; by default if it is a terminal",
    )


def given_values(args: argparse.Namespace, names: Sequence[str]) -> dict[str, Any]:
    """Values of the options among these that were given, by name."""
    return {name: value for name in names if (value := getattr(args, name)) is not None}


def given_of(args: argparse.Namespace, names: Sequence[str]) -> list[str]:
    """The options among these that were given, as they are written."""
    return [_written(name) for name in given_values(args, names)]


def require_photos_or_demo(
    args: argparse.Namespace, of_photos: Sequence[str], purpose: str, images: str = "IMAGES_DIR"
) -> None:
    """End with a message where half of a model and its images was given, or options of photos without them.

    Args:
        args: The options, with their parser.
        of_photos: Names of options that mean nothing to the demo.
        purpose: What leaving out both is for, such as "explain the demo".
        images: What the folder of images is called.
    """
    theirs = (args.model, args.images)
    if any(theirs) and not all(theirs):
        args.parser.error(f"--model and {images} go together; leave out both to {purpose}")
    if (strange := given_of(args, of_photos)) and not any(theirs):
        args.parser.error(f"{', '.join(strange)}: needs --model and {images}")


def weights_file(text: str) -> Path:
    """A name for weights, which are written as safetensors and read by that ending."""
    if Path(text).suffix != ".safetensors":
        message = f"expected a name that ends in .safetensors, got '{text}'"
        raise argparse.ArgumentTypeError(message)
    return Path(text)


def require_new_places(args: argparse.Namespace, names: Sequence[str], report_files: Collection[str] = ()) -> None:
    """End with a message where a file would be written over one that is read, or over another that is written.

    Args:
        args: The options, with their parser.
        names: Names of the options that say where a file is to be written.
        report_files: Files that a report writes into the folder ``--out``.
    """
    taken = {args.out / file: "a file of the report" for file in report_files}
    # Weights may be a file, or the name of some that are published.
    named = {name: value for name, value in vars(args).items() if isinstance(value, Path) or name.endswith("weights")}
    taken |= {Path(value): _written(name) for name, value in named.items() if value and name not in names}
    for name in names:
        given = getattr(args, name)
        if given is None:
            continue
        for path, what in taken.items():
            if path.resolve() == given.resolve():
                args.parser.error(f"{_written(name)}: '{given}' is {what}; name another file")
        taken[given] = _written(name)


def _written(name: str) -> str:
    """An option as it is written; the first argument of a command in capitals."""
    return name.upper() if name == "patch" else f"--{name.replace('_', '-')}"


def add_out_option(parser: argparse._ArgumentGroup, folder: str) -> None:
    """Where the report goes."""
    parser.add_argument(
        "--out", metavar="DIR", type=Path, default=Path(folder), help=f"folder to write (default ./{folder})"
    )
