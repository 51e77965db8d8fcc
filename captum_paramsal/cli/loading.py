"""From parsed options to a model and images."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from captum_paramsal.errors import ModelError, SourceError
from captum_paramsal.hooks import scored_model
from captum_paramsal.report import About

if TYPE_CHECKING:
    from captum_paramsal.cli.group import CommandGroup
    from captum_paramsal.reference import Reference
    from captum_paramsal.sources import ClassNames, LabelledPhotos, Preprocessing


@dataclass(frozen=True)
class LoadedJob:
    """What a subcommand works on."""

    model: nn.Module
    photos: LabelledPhotos

    @property
    def classes(self) -> ClassNames:
        """Names of the classes, as far as known."""
        return self.photos.classes


def load_job(args: argparse.Namespace, *, unlisted: bool = True) -> LoadedJob:
    """Load what ``add_source_options`` asked for; images, the quickest to be wrong, come first.

    Args:
        args: The options.
        unlisted: Name images of the folder that are not in the table among those that are skipped.

    Raises:
        SourceError: A model, weights, labels or images that cannot be used.
    """
    # Not before photos are asked for: the demo needs none of it.
    from captum_paramsal.sources import ClassNames, LabelledPhotos, class_names_of, load_model  # noqa: PLC0415

    _require_weights(args.model, args.weights)
    given = None if args.classes is None else ClassNames.from_json(args.classes)
    model = load_model(args.model, args.weights)
    preprocessing = _preprocessing(args, model)
    classes = given or class_names_of(args.model, model)
    boxes, masks = getattr(args, "boxes", None), getattr(args, "masks", None)
    photos = LabelledPhotos.open(
        args.images, preprocessing, labels=args.labels, classes=classes, boxes=boxes, masks=masks, unlisted=unlisted
    )
    return LoadedJob(_scored(model, args.output), photos)


def load_other(args: argparse.Namespace) -> nn.Module:
    """Load the second checkpoint, which ``--other`` and ``--other-weights`` name.

    Raises:
        SourceError: A model or weights that cannot be used.
    """
    other = load_checkpoint(args.other or args.model, args.other_weights, "--other-weights")
    return _scored(other, args.output)


def load_checkpoint(name: str, weights: str | None, option: str = "--weights") -> nn.Module:
    """Load a model by its name, with the weights that an option names.

    Raises:
        SourceError: A model or weights that cannot be used.
    """
    from captum_paramsal.sources import load_model  # noqa: PLC0415

    _require_weights(name, weights, option)
    return load_model(name, weights)


def _require_weights(name: str, weights: str | None, option: str = "--weights") -> None:
    from captum_paramsal.sources import has_weights, preprocessing_of  # noqa: PLC0415

    if weights is None and not has_weights(name):
        preprocessing_of(name)
        message = (
            f"Expected `{option}` for the architecture {name!r}, which is untrained without, got none. "
            "Give a file, or a name such as DEFAULT."
        )
        raise SourceError(message)


def _scored(model: nn.Module, output: str | None) -> nn.Module:
    return scored_model(model, None if output is None else PartOfResult(output))


def _preprocessing(args: argparse.Namespace, model: nn.Module) -> Preprocessing:
    """The preparation that belongs to the model, with what the options say in its place."""
    from captum_paramsal.sources import Preprocessing, preprocessing_of  # noqa: PLC0415

    given = {
        "image_size": args.image_size,
        "resize": args.resize,
        "mean": None if args.mean is None else tuple(args.mean),
        "std": None if args.std is None else tuple(args.std),
    }
    if None in given.values():
        return preprocessing_of(args.model, args.weights, model).override(**given)
    # Nothing of the model's own is left, so none need be known.
    return Preprocessing().override(**given)


@dataclass(frozen=True)
class PartOfResult:
    """What a model's result has by a name, or at a place.

    Attributes:
        name: A key, an attribute or a number.
    """

    name: str

    def __call__(self, result: Any) -> Any:
        """The part.

        Raises:
            ModelError: The result has none.
        """
        if isinstance(result, Mapping) and self.name in result:
            return result[self.name]
        if isinstance(result, (tuple, list)) and self.name.isdigit() and int(self.name) < len(result):
            return result[int(self.name)]
        if not self.name.isdigit() and not isinstance(result, Mapping) and hasattr(result, self.name):
            return getattr(result, self.name)
        kind = type(result).__name__
        has = f"a {kind} of {len(result)}" if isinstance(result, (tuple, list)) else f"a {kind}"
        has += f" with {', '.join(map(str, result))}" if isinstance(result, Mapping) else ""
        message = f"Expected `--output` to name a part of what the model returns, got {self.name!r} and {has}."
        raise ModelError(message)


def about_photos(args: argparse.Namespace, job: LoadedJob, reference: Path | None) -> About:
    """What model, images and reference are called in a report."""
    return About(
        model=args.model,
        weights="" if args.weights is None else str(args.weights),
        images=str(args.images),
        preprocessing=job.photos.preprocessing.describe(),
        reference="" if reference is None else str(reference),
    )


def more_photos(
    job: LoadedJob, labels: Path, folder: Path, boxes: str | None, masks: Path | None = None
) -> LabelledPhotos:
    """Other labelled photos for the same model, prepared in the same way.

    Raises:
        SourceError: Labels or images that cannot be used.
    """
    from captum_paramsal.sources import LabelledPhotos  # noqa: PLC0415

    classes = job.classes if len(job.classes) else None
    return LabelledPhotos.open(
        folder, job.photos.preprocessing, labels=labels, classes=classes, boxes=boxes, masks=masks, unlisted=False
    )


def reference_photos(job: LoadedJob, reference: Reference, folder: Path) -> LabelledPhotos:
    """The photos that a reference keeps as exemplars, prepared as the others are; their classes are in the reference.

    Raises:
        SourceError: The reference keeps none, or none of them is in the folder.
    """
    from captum_paramsal.sources import Item, LabelledPhotos, Labels  # noqa: PLC0415

    table = reference.exemplar_table
    if table is None:
        message = (
            "Expected `--reference-images` together with a reference that keeps exemplars, got one without. Take it "
            "with `captum-paramsal reference --exemplars 9`."
        )
        raise SourceError(message)
    labels = table.labels
    items = [Item(name, labels[number]) for number, name in table.names.items()]
    there = tuple(item for item in items if (folder / item.name).is_file())
    if not there:
        named = f", such as {items[0].name!r}" if items else ", which has no names of them"
        message = f"Expected `--reference-images` with images of the reference{named}, got none in '{folder}'."
        raise SourceError(message)
    return LabelledPhotos(folder, Labels(there, (), job.photos.classes), job.photos.preprocessing)


def choose_device(name: str | None) -> str:
    """The device that was named, or the first that is there of cuda and cpu."""
    return name or ("cuda" if torch.cuda.is_available() else "cpu")


def shows_progress(args: argparse.Namespace) -> bool:
    """Whether to draw progress bars: as asked, or where somebody is watching."""
    return sys.stderr.isatty() if args.progress is None else bool(args.progress)


def computation(args: argparse.Namespace, group: CommandGroup | None = None) -> dict[str, Any]:
    """What the settings of every report take from the options on computation, in a process of a group."""
    return {
        "batch_size": args.batch_size,
        "device": args.device or (group and group.device) or choose_device(None),
        "show_progress": shows_progress(args),
    }
