"""From two checkpoints and images that only one gets right to the neurons, pixels and filters that differ there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from captum_paramsal.attr import DiscernibleNeurons, InputSpaceSaliency, ParameterSaliency
from captum_paramsal.batch import Inputs, ModelInputs, require_size
from captum_paramsal.errors import InputError, ParamsalError
from captum_paramsal.functional import Loss, Target, cosine, cross_entropy
from captum_paramsal.hooks import Output, two_class_view
from captum_paramsal.metrics import iou, per_pixel
from captum_paramsal.metrics.map_similarity import rank_correlation
from captum_paramsal.models_compared.answers import GROUPS, Answers
from captum_paramsal.models_compared.compare_models import BATCH, answers_of, counterparts
from captum_paramsal.models_compared.image_differences import ImageDifferences
from captum_paramsal.profiles import LayerSelection
from captum_paramsal.reference import Reference
from captum_paramsal.traces import Trace

_IMAGE = 4
"""Dimensions of images, with those of the batch and the channels."""


def compare_on_images(
    a: nn.Module,
    b: nn.Module,
    images: Inputs,
    labels: Target,
    *,
    answers: Answers | None = None,
    references: tuple[Reference, Reference] | None = None,
    limit: int = 16,
    keep: int = 4,
    usual: int = 128,
    layers: LayerSelection | None = None,
    loss: Loss = cross_entropy,
    internal_batch_size: int | None = None,
    output: Output | None = None,
) -> ImageDifferences:
    """Which neurons, pixels and salient filters differ on images that only one of two checkpoints gets right.

    Every image is explained for its true class, in both checkpoints: what leads to it in one and not in the other.
    Images that both get right are the control, since retrained weights differ somewhat everywhere. Neurons are those
    that :class:`~captum_paramsal.DiscernibleNeurons` selects, pixels those where its traces end and those of
    :class:`~captum_paramsal.InputSpaceSaliency`, saliency that of :class:`~captum_paramsal.ParameterSaliency`.

    Args:
        a: A classifier that returns class scores ``(N, C)``; left as it is.
        b: Another checkpoint of the same architecture; left as it is.
        images: ``(N, C, H, W)``, or what the models take.
        labels: True classes, ``(N,)``.
        answers: What both say of these images, such as the result of :func:`compare_models`; asked for if None.
        references: What filters usually do in each; by default what they do in some of these images.
        limit: Images of each group at most, evenly spread: only a right, only b right, both right.
        keep: Images of each group whose maps are kept, at most.
        usual: Images that references are taken on at most, evenly spread, where none are given.
        layers: Layers to score, see :func:`captum_paramsal.profiles.layers.select_layers`; by default those of the
            references.
        loss: Loss per example.
        internal_batch_size: Images in one pass; bounds memory.
        output: What makes class scores of what the models return.

    Returns:
        Overlap and similarity image by image, and some of the maps. What the models do not allow, such as traces
        through an operation without a rule, is named in ``refused``.

    Raises:
        InputError: The checkpoints are not of one architecture, a number is not whole or too small, images cannot be
            scored, answers are those of other images, or neither checkpoint gets an image right.
        TargetError: ``labels`` do not name one class per image.
        ReferenceMismatchError: A reference was taken on other weights.

    >>> from captum_paramsal.demo import load_model, load_scenes, normalize
    >>> a, b, scenes = load_model(), load_model(), load_scenes()[:32]
    >>> _ = b.get_submodule("block2.conv1").weight.data[3].mul_(-4)
    >>> found = compare_on_images(a, b, normalize(scenes.images), scenes.labels, limit=4)
    >>> found.layer_table()[0]["layer"]
    'classifier'
    """
    require_size(internal_batch_size)
    _require_numbers(limit=(limit, 1), keep=(keep, 0), usual=(usual, 2))
    models = counterparts(a, b, output)
    batch = ModelInputs.of(images, labels, model=models[0])
    size = internal_batch_size or BATCH
    answers = answers_of(*models, batch, size) if answers is None else _require_of(answers, batch)
    places, group = answers.sample(limit)
    kept = torch.cat([(group == number).nonzero()[:keep, 0] for number in range(len(GROUPS))])
    explained = _Explained(models, batch.chosen(places), size, kept)
    if references is None:
        count = min(len(batch), usual)
        spread = torch.arange(count) * len(batch) // count
        given = [_as_given(batch.chosen(part)) for part in spread.split(size)]
        taken = [
            Reference.fit(model, given, layers=layers, loss=loss, tail=None, show_progress=False) for model in models
        ]
    first, second = _pair(taken if references is None else references)
    methods = [
        ParameterSaliency(model, reference, layers=layers, loss=loss)
        for model, reference in zip(models, (first, second), strict=True)
    ]
    saliences = [explained.saliences(method) for method in methods]
    neurons, saliency = explained.neurons(), explained.saliency_maps(methods)
    of_filters = cosine(*(rows - rows.mean(dim=1, keepdim=True) for rows in saliences))
    similarity = (of_filters, neurons.box_iou, neurons.correlation, saliency.correlation)
    return ImageDifferences(
        images=places,
        group=group,
        labels=answers.labels[places],
        predicted_a=answers.predicted_a[places],
        predicted_b=answers.predicted_b[places],
        filters=methods[0].filters,
        salience_a=saliences[0],
        salience_b=saliences[1],
        layers=neurons.layers,
        overlap=neurons.overlap,
        similarity=torch.stack([measure.double() for measure in similarity], dim=1),
        kept=kept,
        trace_maps=neurons.maps,
        saliency_maps=saliency.maps,
        refused=explained.refused,
        context={"limit": limit, "reference_images": [first.count, second.count]},
    )


def _require_numbers(**numbers: tuple[int, int]) -> None:
    """Refuse what is no whole number, or below the least one behind it.

    Raises:
        InputError: One is.
    """
    for name, (number, least) in numbers.items():
        if not isinstance(number, int) or number < least:
            message = f"Expected `{name}` to be a whole number of at least {least}, got {number!r}."
            raise InputError(message)


@dataclass(frozen=True)
class _Pixels:
    """Maps of both checkpoints: how similar they are, and those that are kept."""

    correlation: Tensor
    maps: Tensor


@dataclass(frozen=True)
class _Neurons(_Pixels):
    """Traces of both: how many neurons they share by layer, and how far their boxes do."""

    layers: tuple[str, ...]
    overlap: Tensor
    box_iou: Tensor


@dataclass
class _Explained:
    """Images that are explained for their true class in both checkpoints."""

    models: tuple[nn.Module, nn.Module]
    batch: ModelInputs
    size: int
    kept: Tensor
    refused: dict[str, str] = field(default_factory=dict)

    def saliences(self, method: ParameterSaliency) -> Tensor:
        """Standardised saliency, ``(M, F)``."""
        scores = method.attribute(*_as_given(self.batch), internal_batch_size=self.size)
        rows: Tensor = scores[0] if isinstance(scores, tuple) else scores
        return rows.detach().cpu().float()

    def neurons(self) -> _Neurons:
        """Traces of both, compared."""
        unknown = torch.full((len(self.batch),), torch.nan, dtype=torch.float64)
        try:
            pair = [
                DiscernibleNeurons(two_class_view(model)).trace(*_as_given(self.batch), internal_batch_size=self.size)
                for model in self.models
            ]
            overlaps = pair[0].overlaps(pair[1])
        except ParamsalError as error:
            self.refused["traces"] = str(error)
            return _Neurons(unknown, torch.empty(2, 0, 0, 0), (), unknown[:, None][:, :0], unknown)
        layers = tuple(name for name in overlaps if name != "output")
        overlap = torch.stack([overlaps[name].cpu() for name in layers], dim=1)
        if len(pair[0].shape) != _IMAGE:
            self.refused["trace maps"] = f"Expected images (N, C, H, W), got {pair[0].shape}."
            return _Neurons(unknown, torch.empty(2, 0, 0, 0), layers, overlap, unknown)
        maps = [trace.heatmap().cpu() for trace in pair]
        return _Neurons(
            rank_correlation(*maps), torch.stack(maps)[:, self.kept].float(), layers, overlap, _box_iou(pair)
        )

    def saliency_maps(self, methods: Sequence[ParameterSaliency]) -> _Pixels:
        """Maps of input-space saliency, compared."""
        unknown = torch.full((len(self.batch),), torch.nan, dtype=torch.float64)
        try:
            if [tensor.ndim for tensor in self.batch.inputs] != [_IMAGE]:
                message = f"Expected images (N, C, H, W), got {self.batch.shapes}."
                raise InputError(message)
            gradients = [
                InputSpaceSaliency(method).attribute(*_as_given(self.batch), internal_batch_size=self.size)
                for method in methods
            ]
        except torch.OutOfMemoryError:
            raise
        except (ParamsalError, RuntimeError) as error:
            self.refused["saliency maps"] = str(error)
            return _Pixels(unknown, torch.empty(2, 0, 0, 0))
        maps = [per_pixel(each[0] if isinstance(each, tuple) else each) for each in gradients]
        return _Pixels(rank_correlation(*maps), torch.stack(maps)[:, self.kept].float())


def _as_given(batch: ModelInputs) -> tuple[Any, Any, Any]:
    """Inputs, target and further arguments, as methods and batches of a reference take them."""
    labels = batch.labels
    target: Any = None if labels is None else [tuple(row) for row in labels.tolist()]
    if labels is not None and labels.shape[1] == 1:
        target = labels[:, 0]
    return batch.given, target, batch.further


def _box_iou(pair: Sequence[Trace]) -> Tensor:
    """Intersection over union of the boxes of two traces, ``(M,)``; NaN where one is empty."""
    boxes, others = (trace.boxes().cpu() for trace in pair)
    both = boxes.isfinite().all(dim=1) & others.isfinite().all(dim=1)
    overlap = torch.full((len(boxes),), torch.nan, dtype=torch.float64)
    if both.any():
        overlap[both] = iou(boxes[both], others[both])
    return overlap


def _pair(references: Sequence[Reference]) -> tuple[Reference, Reference]:
    if len(references) != 2:
        message = f"Expected `references` of both checkpoints, one each, got {len(references)}."
        raise InputError(message)
    return references[0], references[1]


def _require_of(answers: Answers, batch: ModelInputs) -> Answers:
    labels = None if batch.labels is None else batch.labels[:, 0].cpu()
    if len(answers) != len(batch) or labels is None or not labels.equal(answers.labels.cpu()):
        message = (
            f"Expected `answers` of these {len(batch)} images, got those of {len(answers)}"
            f"{' with other labels' if len(answers) == len(batch) else ''}."
        )
        raise InputError(message)
    return answers
