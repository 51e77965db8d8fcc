"""From labelled images to a cure of some of their mistakes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import torch
from torch import nn

from captum_paramsal.errors import InputError
from captum_paramsal.files import Fingerprint
from captum_paramsal.hooks import Output, scored_model
from captum_paramsal.reference import Reference
from captum_paramsal.repair import Cure, cure as cure_batches
from captum_paramsal.report.cure.caveats import cure_caveats
from captum_paramsal.report.cure.data import JudgedImage, shown_images
from captum_paramsal.report.cure.report import CureReport
from captum_paramsal.report.cure.settings import CureReportSettings
from captum_paramsal.report.shared.predictions import (
    Prediction,
    caveats_of,
    evenly_spread,
    occurring,
    on_device,
    predict,
    require_classes,
)
from captum_paramsal.report.shared.report import About, class_name
from captum_paramsal.sources import ImageSource, Picture, SourceBatches


def cure(
    model: nn.Module,
    images: ImageSource,
    reference: Reference | None = None,
    *,
    mistakes: Sequence[int] | None = None,
    mistakes_from: str = "",
    keep: ImageSource | None = None,
    settings: CureReportSettings | None = None,
    classes: Mapping[int, str] | None = None,
    about: About | None = None,
    output: Output | None = None,
) -> CureReport:
    """Change few filters until mistakes go away, and keep that only if it is proven, for a report.

    Args:
        model: A classifier, left as it was.
        images: Labelled images, of which the mistakes are; those that cannot be read are left out.
        reference: What the filters usually do; by default, what they do in the right images that are learnt from.
        mistakes: Positions of the mistakes that are to be cured, such as a group of a triage; by default all that the
            settings ask for.
        mistakes_from: What these are called in the report.
        keep: Labelled images that must stay right; by default those of ``images``. What the model gets wrong is left
            out.
        settings: Which mistakes, how, sizes, device.
        classes: Names of the classes.
        about: What model, images and reference are called in the report.
        output: What makes class scores ``(N, C)`` of what the model returns, where it returns something else than
            these or ``logits``.

    Raises:
        SourceError: A label that is no class of the model.
        InputError: Nothing to cure: no such mistakes, or positions of images that are none; or too few right images.
        ParamsalError: A model, images or a reference that do not go together; see
            :func:`captum_paramsal.repair.cure`.
    """
    model = scored_model(model, output)
    settings = settings or CureReportSettings()
    wanted = _wanted(images, mistakes, settings.limit)
    with on_device(model, settings.device) as device:
        said = _predicted(model, images, wanted, settings, device)
        right = said if keep is None else _predicted(model, keep, range(len(keep.items)), settings, device)
        chosen = [said[position] for position in _chosen(said, mistakes, settings.pair)]
        batches = (
            SourceBatches(images, model, [one.position for one in chosen], settings.batch_size, device),
            SourceBatches(
                images if keep is None else keep,
                model,
                [position for position, one in right.items() if one.correct],
                settings.batch_size,
                device,
            ),
        )
        found = cure_batches(
            model,
            *batches,
            reference=reference,
            settings=settings.cure,
            alternatives=settings.alternatives,
            show_progress=settings.show_progress,
        )
    judges = [*_judges(found, "mistakes", batches[0], said), *_judges(found, "keep", batches[1], right)]
    names = occurring([*said.values(), *right.values()], classes)
    report = CureReport(
        cure=found,
        judged=tuple(image for image, _, _ in judges),
        images=len(said),
        wrong=sum(not one.correct for one in said.values()),
        candidates=len(images.items),
        skipped=(*images.skipped, *(() if keep is None else keep.skipped)),
        classes=names
        | {number: (classes or {})[number] for number in settings.pair or () if number in (classes or {})},
        caveats=(*caveats_of([*said.values()]), *cure_caveats(found, settings.cure.rule.most_broken)),
        context={
            **_context(model, about or About(), settings, device),
            "chosen": {"which": mistakes_from or _named(settings.pair, mistakes, names), "mistakes": len(chosen)},
            "keep": {"own_images": keep is not None, "images": sum(one.correct for one in right.values())},
            "reference": _about_reference(reference, about or About()),
        },
    )
    return replace(report, pictures=_pictures(report, judges, settings.shown))


def _context(model: nn.Module, about: About, settings: CureReportSettings, device: torch.device) -> dict[str, Any]:
    """Versions, model, images and parameters, as JSON has them."""
    parameters = asdict(settings.cure) | {"limit": settings.limit, "shown": settings.shown, "device": str(device)}
    return {**about.head(model, Fingerprint.of(model)), "parameters": parameters}


def _wanted(images: ImageSource, mistakes: Sequence[int] | None, limit: int | None) -> Sequence[int]:
    """Positions of the images to classify, the mistakes that were named among them."""
    everything = range(len(images.items))
    spread = everything if limit is None else evenly_spread(everything, limit)
    return spread if mistakes is None else sorted({*spread, *mistakes})


def _predicted(
    model: nn.Module,
    images: ImageSource,
    positions: Sequence[int],
    settings: CureReportSettings,
    device: torch.device,
) -> dict[int, Prediction]:
    """What the model says of every image, by its position."""
    require_classes(model, images, positions, device=device)
    said = predict(
        model,
        images,
        positions,
        batch_size=settings.batch_size,
        device=device,
        show_progress=settings.show_progress,
    )
    return {one.position: one for one in said}


def _chosen(
    said: Mapping[int, Prediction], mistakes: Sequence[int] | None, pair: tuple[int, int] | None
) -> Sequence[int]:
    """Positions of the mistakes that are to be cured."""
    wrong = [position for position, one in said.items() if not one.correct]
    if mistakes is not None:
        known = {*wrong}
        strange = [position for position in mistakes if position not in known]
        if strange:
            message = (
                f"Expected `mistakes` of this model, but it gets {len(strange)} of {len(mistakes)} right, or they "
                f"cannot be read, such as image {strange[0]}."
            )
            raise InputError(message)
        given = {*mistakes}
        wrong = [position for position in wrong if position in given]
    if pair is not None:
        wrong = [position for position in wrong if (said[position].label, said[position].predicted) == pair]
    if not wrong:
        which = "" if pair is None else f" of class {pair[0]} taken for class {pair[1]}"
        message = f"Expected mistakes{which} to cure, got none among {len(said)} images."
        raise InputError(message)
    return wrong


def _judges(
    found: Cure, kind: str, batches: SourceBatches, said: Mapping[int, Prediction]
) -> Iterator[tuple[JudgedImage, ImageSource, int]]:
    """The images that judged, with where they are from."""
    places = found.parts[kind]["judge"].tolist()
    after = found.predicted[kind].tolist() if found.predicted else [None] * len(places)
    for place, predicted in zip(places, after, strict=True):
        position = batches.delivered[place]
        one = said[position]
        name = batches.images.items[position].name
        yield JudgedImage(name, one.label, one.predicted, one.confidence, predicted), batches.images, position


def _pictures(
    report: CureReport, judges: Sequence[tuple[JudgedImage, ImageSource, int]], most: int
) -> dict[int, Picture]:
    pictures = {}
    for number in shown_images(report, most):
        _, images, position = judges[number]
        picture = images.picture(position)
        if picture is not None:
            pictures[number] = picture
    return pictures


def _named(pair: tuple[int, int] | None, mistakes: Sequence[int] | None, classes: Mapping[int, str]) -> str:
    if pair is not None:
        return f"{class_name(classes, pair[0])} taken for {class_name(classes, pair[1])}"
    return "all mistakes" if mistakes is None else "mistakes that were given"


def _about_reference(reference: Reference | None, about: About) -> dict[str, Any]:
    if reference is None:
        return {"origin": "the right images that are learnt from", "images": None}
    return {"origin": about.reference, "images": reference.count}
