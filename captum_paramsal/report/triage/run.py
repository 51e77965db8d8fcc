"""From labelled images to all their mistakes, sorted."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn

from captum_paramsal.errors import FewSamplesWarning, ParamsalError, SourceError, TargetError
from captum_paramsal.files import Fingerprint
from captum_paramsal.hooks import Output, scored_model
from captum_paramsal.profiles import LayerSelection
from captum_paramsal.reference import Reference
from captum_paramsal.repair import CureSettings, GroupCures, cure_groups
from captum_paramsal.report.shared.label_checks import label_caveats
from captum_paramsal.report.shared.predictions import (
    evenly_spread,
    on_device,
    pictures_of,
    require_classes,
    require_same_job,
)
from captum_paramsal.report.shared.report import About
from captum_paramsal.report.triage.caveats import group_cures_caveats, triage_caveats
from captum_paramsal.report.triage.label_doubts import LabelDoubts, doubts_of_mistakes
from captum_paramsal.report.triage.page_doubts import pictured_doubts
from captum_paramsal.report.triage.page_groups import pictured
from captum_paramsal.report.triage.report import TriageReport
from captum_paramsal.sources import ImageSource, SourceBatches, skipped_by_all
from captum_paramsal.triage import Triage, triage as triage_batches


@dataclass(frozen=True)
class TriageSettings:
    """What belongs to a triage, apart from model and images.

    Attributes:
        level: False discovery rate of the filters that are called significant.
        smallest: Mistakes that a group has at least.
        layers: Layers to score; by default those of the reference, or the default layers, see
            :func:`captum_paramsal.profiles.layers.select_layers`.
        limit: Images at most, evenly spread over all; None for all.
        doubts: Ask the model and similar images about the label of every mistake, which takes one more forward pass.
        cure: Look for a cure of each group, in this way; None for none.
        batch_size: Images at once.
        device: Where to compute; where the model is, if None.
        show_progress: Show progress bars.
        checkpoint: Folder that profiles are kept in, batch by batch, for a run that is started again; None for none.
    """

    level: float = 0.05
    smallest: int = 3
    layers: LayerSelection | None = None
    limit: int | None = None
    doubts: bool = True
    cure: CureSettings | None = None
    batch_size: int = 32
    device: str | torch.device | None = None
    show_progress: bool = True
    checkpoint: str | os.PathLike[str] | None = None

    def __post_init__(self) -> None:
        for name in ("limit", "batch_size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                message = f"Expected `{name}` to be at least 1, got {value}."
                raise ParamsalError(message)


def triage(
    model: nn.Module,
    images: ImageSource,
    reference: Reference | None = None,
    *,
    settings: TriageSettings | None = None,
    classes: Mapping[int, str] | None = None,
    about: About | None = None,
    output: Output | None = None,
) -> TriageReport:
    """Sort all mistakes among labelled images, for a report.

    In a ``torch.distributed`` group every process calls this with the same model, images and settings. Each reads and
    scores its own share of the batches, and all get the report that one process would make.

    Args:
        model: A classifier, left as it was.
        images: Labelled images; those that cannot be read are left out.
        reference: What the filters usually do; by default, what they do in these images.
        settings: Level, groups, layers, sizes, device.
        classes: Names of the classes.
        about: What model, images and reference are called in the report.
        output: What makes class scores ``(N, C)`` of what the model returns, where it returns something else than
            these or ``logits``.

    Raises:
        SourceError: A label that is no class of the model.
        ParamsalError: A model, images or a reference that do not go together, or no mistakes; see
            :func:`captum_paramsal.triage.triage`.
    """
    model = scored_model(model, output)
    settings = settings or TriageSettings()
    everything = range(len(images.items))
    wanted = everything if settings.limit is None else evenly_spread(everything, settings.limit)
    with on_device(model, settings.device) as device:
        require_same_job(model, images, settings)
        require_classes(model, images, wanted, device=device)
        batches = SourceBatches(images, model, wanted, settings.batch_size, device)
        result = _triage(model, batches, reference, settings)
        batches.join_delivered()
        positions = [batches.delivered[place] for place in result.images.tolist()]
        doubts = _doubts(model, batches, result, settings)
        cures = None if settings.cure is None else _cures(model, batches, result, positions, settings)
    shown = list(dict.fromkeys([*pictured(result), *pictured_doubts(doubts)]))
    pictures = pictures_of(images, [positions[number] for number in shown])
    occurring = {*result.labels.tolist(), *result.predicted.tolist()}
    return TriageReport(
        triage=result,
        items=tuple(images.items[position] for position in positions),
        images=len(batches.delivered),
        candidates=len(images.items),
        cures=cures,
        doubts=doubts,
        skipped=skipped_by_all(images),
        classes={number: name for number, name in (classes or {}).items() if number in occurring},
        caveats=(
            *label_caveats(*_labels_and_predictions(batches, result)),
            *triage_caveats(result, len(batches.delivered), given=reference is not None),
            *group_cures_caveats(cures, settings.cure),
        ),
        context=_context(model, about or About(), reference, settings, result=result, device=device),
        pictures={number: pictures[positions[number]] for number in shown if positions[number] in pictures},
    )


def _triage(model: nn.Module, batches: SourceBatches, reference: Reference | None, settings: TriageSettings) -> Triage:
    try:
        with warnings.catch_warnings():
            # The report says it, in words of its own.
            warnings.simplefilter("ignore", FewSamplesWarning)
            return triage_batches(
                model,
                batches,
                reference,
                level=settings.level,
                smallest=settings.smallest,
                layers=settings.layers,
                internal_batch_size=settings.batch_size,
                total=len(batches.wanted),
                checkpoint=settings.checkpoint,
                show_progress=settings.show_progress,
            )
    except TargetError as error:
        message = f"Expected labels that are classes of the model, got {_suspect(batches)}. {error}"
        raise SourceError(message) from error


def _cures(
    model: nn.Module, batches: SourceBatches, result: Triage, positions: Sequence[int], settings: TriageSettings
) -> GroupCures:
    """Of every group; all images of the set that are right must stay so."""
    wrong = {*positions}
    right = [position for position in batches.delivered if position not in wrong]
    members = [result.members(group).tolist() for group in range(result.group_count)]
    groups = [batches.at([positions[number] for number in of_group]) for of_group in members]
    return cure_groups(model, groups, batches.at(right), settings=settings.cure, show_progress=settings.show_progress)


def _doubts(model: nn.Module, batches: SourceBatches, result: Triage, settings: TriageSettings) -> LabelDoubts:
    """Of the labels of all mistakes; not asked where nobody wants to know."""
    if not settings.doubts:
        return LabelDoubts()
    read = batches.at(list(batches.delivered))
    labels, mistakes = [batches.images.items[position].label for position in read.wanted], result.images.tolist()
    return doubts_of_mistakes(model, read, labels, mistakes, show_progress=settings.show_progress)


def _labels_and_predictions(batches: SourceBatches, result: Triage) -> tuple[list[int], list[int]]:
    """Of all images, right ones included."""
    labels = [batches.images.items[position].label for position in batches.delivered]
    mistaken = dict(zip(result.images.tolist(), result.predicted.tolist(), strict=True))
    return labels, [mistaken.get(place, label) for place, label in enumerate(labels)]


def _suspect(batches: SourceBatches) -> str:
    """The last batch's image with the highest label, which is no class of the model if any is not."""
    items = [batches.images.items[position] for position in batches.delivered[-batches.batch_size :]]
    highest = max(items, key=lambda item: item.label)
    return f"{highest.label} for '{highest.name}'"


def _context(
    model: nn.Module,
    about: About,
    reference: Reference | None,
    settings: TriageSettings,
    *,
    result: Triage,
    device: torch.device,
) -> dict[str, Any]:
    """Versions, model, images, reference and parameters, as JSON has them."""
    options = {name: getattr(settings, name) for name in ("level", "smallest", "limit", "batch_size")}
    return {
        **about.head(model, Fingerprint.of(model)),
        "reference": {"origin": "these images", "fitted_on_these_images": True, "images": result.context["images"]}
        if reference is None
        else {
            "origin": about.reference,
            "fitted_on_these_images": False,
            "images": reference.count,
            "fingerprint": reference.fingerprint.short,
        },
        "parameters": options
        | {"device": str(device), "layers": list(result.filters.layers), "seed": result.context["seed"]}
        | ({} if settings.cure is None else {"cure": asdict(settings.cure)}),
    }
