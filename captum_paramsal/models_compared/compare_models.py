"""From two checkpoints and labelled images to what differs between them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from captum_paramsal.batch import Inputs, ModelInputs, forward_scores, require_finite_scores, require_size
from captum_paramsal.errors import InputError
from captum_paramsal.files import Fingerprint
from captum_paramsal.functional import Loss, Target, cross_entropy, scores_at
from captum_paramsal.hooks import Output, frozen_eval, scored_model
from captum_paramsal.models_compared.answers import Answers
from captum_paramsal.models_compared.result import ModelComparison
from captum_paramsal.models_compared.weight_line import LineShares, WeightLine
from captum_paramsal.profiles import FilterProfile, LayerSelection

BATCH = 64
"""Images at once where nobody says how many."""


def compare_models(
    a: nn.Module,
    b: nn.Module,
    images: Inputs,
    labels: Target,
    *,
    layers: LayerSelection | None = None,
    loss: Loss = cross_entropy,
    steps: int = 5,
    internal_batch_size: int | None = None,
    output: Output | None = None,
) -> ModelComparison:
    """Which images only one of two checkpoints gets right, and which filters differ.

    Args:
        a: A classifier that returns class scores ``(N, C)``, such as the one before a retraining; left as it is.
        b: Another checkpoint of the same architecture; left as it is.
        images: ``(N, C, H, W)``, or what the models take.
        labels: True classes, ``(N,)``.
        layers: Layers to compare, see :func:`captum_paramsal.profiles.layers.select_layers`.
        loss: Loss per example.
        steps: Places on the line between the checkpoints at which gradients are taken.
        internal_batch_size: Images in one pass; bounds memory.
        output: What makes class scores of what the models return.

    Raises:
        InputError: The checkpoints are not of one architecture, ``steps`` is below 1, or images cannot be scored.
        TargetError: ``labels`` do not name one class per image.
        ModelError: A weight that is computed for each pass.

    >>> from captum_paramsal.demo import load_model, load_scenes, normalize
    >>> a, b, scenes = load_model(), load_model(), load_scenes()[:16]
    >>> _ = b.get_submodule("block2.conv1").weight.data[3].zero_()
    >>> result = compare_models(a, b, normalize(scenes.images), scenes.labels, steps=1)
    >>> print(result.top(1)[0].filter)
    block2.conv1[3]
    """
    require_size(internal_batch_size)
    if not isinstance(steps, int) or steps < 1:
        message = f"Expected `steps` to be a whole number of at least 1, got {steps!r}."
        raise InputError(message)
    first, second = counterparts(a, b, output)
    batch = ModelInputs.of(images, labels, model=first)
    size = internal_batch_size or BATCH
    scores, truth = zip(*(_scores(model, batch, size) for model in (first, second)), strict=True)
    profile = FilterProfile(first, layers, loss)
    profile.prepare(batch.part(0, 2).inputs, truth[0][:2])
    answers = _answers(scores, truth[0])
    losses = [loss(each, truth[0]).detach().cpu().double() for each in scores]
    line = WeightLine(first, second)
    unknown = torch.tensor(torch.nan, dtype=torch.float64)
    missing = LineShares(*(unknown.expand(shape) for shape in ((len(profile.filters),), (2, len(line.norms)), ())))
    shares, difference = [], []
    for places in (answers.only_a, answers.only_b):
        some = [batch.chosen(part) for part in places.split(size)] if len(places) else []
        shares.append(line.shares(profile.layers, some, loss, steps) if some else missing)
        difference.append((losses[1] - losses[0])[places].mean())
    return ModelComparison(
        **vars(answers),
        filters=profile.filters,
        change=line.change(profile.layers),
        share=torch.stack([part.filters for part in shares]),
        loss_difference=torch.stack(difference),
        norms=line.norms,
        norm_shift=line.statistics_shifts(),
        norm_share=torch.stack([part.norms for part in shares]),
        other_share=torch.stack([part.others for part in shares]),
        context={
            "a": Fingerprint.of(first).short,
            "b": Fingerprint.of(second).short,
            "steps": steps,
            "left_out": line.left_out,
        },
    )


def answers_of(a: nn.Module, b: nn.Module, batch: ModelInputs, size: int) -> Answers:
    """What two checkpoints say of labelled images.

    Raises:
        InputError: There are no labels, or scores are not finite.
    """
    scores, truth = zip(*(_scores(model, batch, size) for model in (a, b)), strict=True)
    return _answers(scores, truth[0])


def counterparts(a: nn.Module, b: nn.Module, output: Output | None = None) -> tuple[nn.Module, nn.Module]:
    """Two checkpoints as models that return class scores, once it is known that they can be compared.

    Args:
        a: A classifier.
        b: Another checkpoint of the same architecture.
        output: What makes class scores of what the models return.

    Raises:
        InputError: They are not of one architecture.
        ModelError: One is no module.
    """
    models = scored_model(a, output), scored_model(b, output)
    _require_one_architecture(*models)
    return models


def _answers(scores: Sequence[Tensor], labels: Tensor) -> Answers:
    return Answers(labels.cpu(), *(each.argmax(dim=1).cpu() for each in scores))


def _scores(model: nn.Module, batch: ModelInputs, size: int) -> tuple[Tensor, Tensor]:
    """Class scores ``(N, C)`` and labels ``(N,)``."""
    if batch.labels is None:
        message = "Expected `labels`, the true class of each image, got None."
        raise InputError(message)
    with frozen_eval(model, gradients=False):
        parts = [batch.part(start, size) for start in range(0, len(batch), size)]
        scores = torch.cat([forward_scores(model, part, binary=True) for part in parts])
    chosen, labels = scores_at(scores, batch.labels)
    return require_finite_scores(chosen), labels


def _require_one_architecture(a: nn.Module, b: nn.Module) -> None:
    shapes = [
        {name: tuple(tensor.shape) for name, tensor in (*model.named_parameters(), *model.named_buffers())}
        for model in (a, b)
    ]
    if shapes[0] != shapes[1]:
        names = sorted(name for name in shapes[0].keys() | shapes[1] if shapes[0].get(name) != shapes[1].get(name))
        message = (
            f"Expected two checkpoints of one architecture, got {type(a).__name__} and {type(b).__name__} with other "
            f"shapes or names of {len(names)} tensors, such as {names[0]!r}: {shapes[0].get(names[0])} and "
            f"{shapes[1].get(names[0])}. Filters of other architectures have no counterparts; take `triage` of each."
        )
        raise InputError(message)
