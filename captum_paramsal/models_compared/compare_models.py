"""From two checkpoints and labelled images to what differs between them."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy

import torch
from torch import Tensor, nn

from captum_paramsal.batch import Inputs, ModelInputs, forward_scores, require_finite_scores, require_size
from captum_paramsal.errors import InputError, ModelError
from captum_paramsal.files import Fingerprint
from captum_paramsal.functional import Loss, Target, cross_entropy, excess_change, path_shares, scores_at
from captum_paramsal.hooks import FilterLayer, Output, frozen_eval, scored_model
from captum_paramsal.models_compared.result import ModelComparison
from captum_paramsal.profiles import FilterProfile, LayerSelection

_BATCH = 64


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
    first, second = scored_model(a, output), scored_model(b, output)
    _require_one_architecture(first, second)
    batch = ModelInputs.of(images, labels, model=first)
    size = internal_batch_size or _BATCH
    (scores_a, truth), (scores_b, _) = (_scores(model, batch, size) for model in (first, second))
    profile = FilterProfile(first, layers, loss)
    profile.prepare(batch.part(0, 2).inputs, truth[:2])
    path = _Path(first, second)
    predicted_a, predicted_b = scores_a.argmax(dim=1).cpu(), scores_b.argmax(dim=1).cpu()
    losses = [loss(scores, truth).detach().cpu().double() for scores in (scores_a, scores_b)]
    right_a, right_b = (predicted == truth.cpu() for predicted in (predicted_a, predicted_b))
    share, difference = [], []
    for chosen in (right_a & ~right_b, right_b & ~right_a):
        places = chosen.nonzero()[:, 0]
        missing = torch.full((len(profile.filters),), torch.nan, dtype=torch.float64)
        some = [batch.chosen(part) for part in places.split(size)] if len(places) else []
        share.append(path.shares(profile.layers, some, loss, steps) if some else missing)
        difference.append((losses[1] - losses[0])[places].mean())
    return ModelComparison(
        filters=profile.filters,
        labels=truth.cpu(),
        predicted_a=predicted_a,
        predicted_b=predicted_b,
        change=path.change(profile.layers),
        share=torch.stack(share),
        loss_difference=torch.stack(difference),
        context={"a": Fingerprint.of(first).short, "b": Fingerprint.of(second).short, "steps": steps},
    )


class _Path:
    """The straight line between two checkpoints."""

    def __init__(self, a: nn.Module, b: nn.Module) -> None:
        self._between = deepcopy(a)
        self._before, self._after = ({**dict(m.named_parameters()), **dict(m.named_buffers())} for m in (a, b))
        self._names = {id(parameter): name for name, parameter in a.named_parameters()}

    def change(self, layers: Sequence[FilterLayer]) -> Tensor:
        """How unusually far each filter moved, ``(F,)``."""
        changes = []
        for layer in layers:
            weights = self._weights(layer)
            both = [
                _rows(layer, [tensors[name].detach().cpu().double() for name in weights])
                for tensors in (self._before, self._after)
            ]
            filters = [_joined(layer, rows) for rows in both]
            changes.append(excess_change(*filters))
        return torch.cat(changes)

    def shares(self, layers: Sequence[FilterLayer], parts: Sequence[ModelInputs], loss: Loss, steps: int) -> Tensor:
        """Shares of the filters in the difference of the mean loss, ``(F,)``."""
        names = list(dict.fromkeys(name for layer in layers for name in self._weights(layer)))
        between = dict(self._between.named_parameters())
        count = sum(map(len, parts))

        def gradients(place: float) -> list[Tensor]:
            self._go_to(place)
            sums = [torch.zeros_like(between[name]) for name in names]
            with frozen_eval(self._between, [between[name] for name in names]):
                for part in parts:
                    scores, labels = scores_at(forward_scores(self._between, part, binary=True), part.labels)
                    total = loss(scores, labels).sum() / count
                    for sum_, gradient in zip(
                        sums, torch.autograd.grad(total, [between[name] for name in names]), strict=True
                    ):
                        sum_.add_(gradient)
            return sums

        changes = [(self._after[name] - self._before[name]).detach() for name in names]
        products = dict(zip(names, path_shares(gradients, changes, steps), strict=True))
        per_layer = [
            _joined(layer, _rows(layer, [products[name].detach().cpu().double() for name in self._weights(layer)]))
            for layer in layers
        ]
        return torch.cat([rows.sum(dim=1) for rows in per_layer])

    def _weights(self, layer: FilterLayer) -> list[str]:
        names = [self._names.get(id(weight), "") for weight in layer.rule.weights(layer.module)]
        if not all(names):
            message = (
                f"Expected weights that are parameters, got some of {layer.name!r} that are computed for each pass."
            )
            raise ModelError(message)
        return names

    def _go_to(self, place: float) -> None:
        tensors = {**dict(self._between.named_parameters()), **dict(self._between.named_buffers())}
        with torch.no_grad():
            for name, tensor in tensors.items():
                if tensor.is_floating_point():
                    tensor.copy_(torch.lerp(self._before[name], self._after[name].to(tensor.device), place))


def _rows(layer: FilterLayer, tensors: Sequence[Tensor]) -> Tensor:
    """Numbers shaped like the layer's weights, by row, ``(R, M)``."""
    return layer.rule.slices(layer.module, tuple(tensor[None] for tensor in tensors)).sample(0)


def _joined(layer: FilterLayer, rows: Tensor) -> Tensor:
    """The rows of each head in one, ``(F, M)``; other filters are rows."""
    return torch.stack([rows[part].flatten() for part in layer.heads.values()]) if layer.heads else rows


def _scores(model: nn.Module, batch: ModelInputs, size: int) -> tuple[Tensor, Tensor]:
    """Class scores ``(N, C)`` and labels ``(N,)``."""
    if batch.labels is None:
        message = "Expected `labels`, the true class of each image, got None."
        raise InputError(message)
    with frozen_eval(model), torch.no_grad():
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
