"""From labelled images and two checkpoints to what differs between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from captum_paramsal.errors import ParamsalError
from captum_paramsal.files import Fingerprint
from captum_paramsal.hooks import Output
from captum_paramsal.models_compared import (
    Answers,
    ImageDifferences,
    ModelComparison,
    compare_models as compare_weights,
    compare_on_images,
    counterparts,
)
from captum_paramsal.profiles import LayerSelection
from captum_paramsal.reference import Reference
from captum_paramsal.report.compare_models.caveats import model_caveats
from captum_paramsal.report.compare_models.data import AnsweredImage
from captum_paramsal.report.compare_models.report import ModelComparisonReport
from captum_paramsal.report.shared.fit_reference import fit_reference
from captum_paramsal.report.shared.predictions import (
    Prediction,
    caveats_of,
    evenly_spread,
    occurring,
    on_device,
    pictures_of,
    predict,
)
from captum_paramsal.report.shared.report import About
from captum_paramsal.sources import ImageSource, SourceBatches


@dataclass(frozen=True)
class ModelComparisonSettings:
    """What belongs to a comparison of two checkpoints, apart from these and the images.

    Attributes:
        limit: Images at most, evenly spread over all; None for all.
        shared: Images of each group (right in A only, in B only, in both) on which the difference in loss is shared
            among filters, at most.
        explained: Images of each group whose neurons, pixels and saliency are compared, at most.
        shown: Images of each group whose maps are shown, at most.
        usual: Images that say what filters usually do, at most.
        steps: Places on the line between the checkpoints at which gradients are taken.
        layers: Layers to score, see :func:`captum_paramsal.profiles.layers.select_layers`.
        batch_size: Images at once.
        device: Where to compute; where the models are, if None.
        show_progress: Show progress bars.
    """

    limit: int | None = None
    shared: int = 64
    explained: int = 16
    shown: int = 4
    usual: int = 128
    steps: int = 5
    layers: LayerSelection | None = None
    batch_size: int = 32
    device: str | torch.device | None = None
    show_progress: bool = True

    def __post_init__(self) -> None:
        least = {"limit": 1, "shared": 1, "explained": 1, "shown": 0, "usual": 2, "steps": 1, "batch_size": 1}
        for name, smallest in least.items():
            value = getattr(self, name)
            if value is not None and value < smallest:
                message = f"Expected `{name}` to be at least {smallest}, got {value}."
                raise ParamsalError(message)


def compare_models(
    a: nn.Module,
    b: nn.Module,
    images: ImageSource,
    *,
    settings: ModelComparisonSettings | None = None,
    classes: Mapping[int, str] | None = None,
    about: About | None = None,
    other: About | None = None,
    output: Output | None = None,
) -> ModelComparisonReport:
    """What differs between two checkpoints of one architecture, and on which images, for a report.

    Args:
        a: A classifier, such as the one before a retraining; left as it was.
        b: Another checkpoint of the same architecture; left as it was.
        images: Labelled images; those that cannot be read are left out.
        settings: Sizes, layers, device.
        classes: Names of the classes.
        about: What a and the images are called in the report.
        other: What b is called.
        output: What makes class scores ``(N, C)`` of what the models return, where they return something else than
            these or ``logits``.

    Raises:
        SourceError: A label that is no class of the models.
        ParamsalError: Models or images that do not go together, or images that neither model gets right; see
            :func:`captum_paramsal.compare_models` and :func:`captum_paramsal.models_compared.compare_on_images`.
    """
    models = counterparts(a, b, output)
    settings = settings or ModelComparisonSettings()
    everything = range(len(images.items))
    wanted = everything if settings.limit is None else evenly_spread(everything, settings.limit)
    with ExitStack() as stack:
        device = stack.enter_context(on_device(models[0], settings.device))
        stack.enter_context(on_device(models[1], device))
        said = [
            predict(
                model,
                images,
                wanted,
                batch_size=settings.batch_size,
                device=device,
                show_progress=settings.show_progress,
            )
            for model in models
        ]
        answers = _answers(said)
        numbers = answers.sample(settings.shared)[0].tolist()
        batches = SourceBatches(
            images, models[0], [said[0][number].position for number in numbers], settings.batch_size, device
        )
        inputs, labels = (torch.cat(parts) for parts in zip(*batches, strict=True))
        first, second = (_reference(model, images, wanted, settings, device) for model in models)
        comparison, differences = _compared(models, inputs, labels, (first, second), settings)
    both, neither = len(answers.both), len(answers.neither)
    places = {position: place for place, position in enumerate(batches.delivered)}
    report = ModelComparisonReport(
        comparison=comparison,
        differences=differences,
        names=tuple(images.items[position].name for position in batches.delivered),
        answered=tuple(
            _answered(images, pair, places) for pair in zip(*said, strict=True) if pair[0].correct != pair[1].correct
        ),
        both=both,
        neither=neither,
        candidates=len(images.items),
        skipped=tuple(images.skipped),
        classes=occurring([*said[0], *said[1]], classes),
        caveats=(
            *(f"Of {name}: {one}" for name, of in zip("AB", said, strict=True) for one in caveats_of(of)),
            *model_caveats(answers, comparison, differences),
        ),
        context=_context(models, (about or About(), other or About()), settings, comparison, device),
    )
    pictures = pictures_of(images, [batches.delivered[place] for place in report.pictured])
    return replace(report, pictures={places[position]: picture for position, picture in pictures.items()})


def _compared(
    models: tuple[nn.Module, nn.Module],
    inputs: Tensor,
    labels: Tensor,
    references: tuple[Reference, Reference],
    settings: ModelComparisonSettings,
) -> tuple[ModelComparison, ImageDifferences]:
    """Which filters moved and what that adds to the loss; which neurons and pixels differ."""
    size = settings.batch_size
    comparison = compare_weights(
        *models, inputs, labels, layers=settings.layers, steps=settings.steps, internal_batch_size=size
    )
    differences = compare_on_images(
        *models,
        inputs,
        labels,
        answers=comparison,
        references=references,
        limit=settings.explained,
        keep=settings.shown,
        internal_batch_size=size,
    )
    return comparison, differences


def _answers(said: Sequence[Sequence[Prediction]]) -> Answers:
    labels = torch.tensor([prediction.label for prediction in said[0]])
    return Answers(labels, *(torch.tensor([prediction.predicted for prediction in each]) for each in said))


def _answered(images: ImageSource, pair: tuple[Prediction, Prediction], places: Mapping[int, int]) -> AnsweredImage:
    first, second = pair
    return AnsweredImage(
        file=images.items[first.position].name,
        label=first.label,
        predicted_a=first.predicted,
        confidence_a=first.confidence,
        predicted_b=second.predicted,
        confidence_b=second.confidence,
        number=places.get(first.position),
    )


def _reference(
    model: nn.Module,
    images: ImageSource,
    wanted: Sequence[int],
    settings: ModelComparisonSettings,
    device: torch.device,
) -> Reference:
    """What filters usually do in these images."""
    return fit_reference(
        model,
        images,
        evenly_spread(wanted, settings.usual),
        layers=settings.layers,
        tail=None,
        batch_size=settings.batch_size,
        device=device,
        show_progress=settings.show_progress,
    )


def _context(
    models: Sequence[nn.Module],
    about: Sequence[About],
    settings: ModelComparisonSettings,
    comparison: ModelComparison,
    device: torch.device,
) -> dict[str, Any]:
    """Versions, both models, images and parameters, as JSON has them."""
    heads = [name.head(model, Fingerprint.of(model)) for name, model in zip(about, models, strict=True)]
    sizes = ("limit", "shared", "explained", "shown", "usual", "steps", "batch_size")
    options = {name: getattr(settings, name) for name in sizes}
    return {
        **heads[0],
        "other": heads[1]["model"],
        "parameters": options | {"device": str(device), "layers": list(comparison.filters.layers)},
    }
