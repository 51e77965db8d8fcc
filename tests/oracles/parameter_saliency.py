"""Parameter saliency as the paper states it: one image at a time, autograd, no shortcuts (Levin et al., equation 1).

Slow twins of the package, written without it. ``profile_loop`` is the oracle; ``profile_vmap`` comes to the same
numbers on another road and keeps the first one honest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

Loss = Callable[[Tensor, Any], Tensor]
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


def cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """log(1 + Σ exp(z_j - z_y)) over all j but y, ``(N,)``.

    Of PyTorch's own, as of log Σ exp(z) - z_y, the gradient p_y - 1 loses every digit where an image is classified with
    confidence 1 - 1e-16, and seven of sixteen at 1 - 1e-9.
    """
    own = torch.arange(logits.shape[1], device=logits.device) == target[:, None]
    lead = (logits - logits.gather(1, target[:, None])).masked_fill(own, -torch.inf).logsumexp(dim=1)
    return torch.logaddexp(lead, torch.zeros_like(lead))


def convolutions(model: nn.Module) -> list[str]:
    """Names of every convolution, transposed ones included, in the order of the model."""
    return [name for name, layer in model.named_modules() if isinstance(layer, CONVOLUTIONS + TRANSPOSED)]


def weight_names(layer: nn.Module) -> list[str]:
    """The parameters of a layer whose slices are its filters."""
    if isinstance(layer, nn.MultiheadAttention):
        separate = ["q_proj_weight", "k_proj_weight", "v_proj_weight"]
        return ["in_proj_weight"] if layer.in_proj_weight is not None else separate
    return ["weight"]


def filter_slices(layer: nn.Module, tensors: Sequence[Tensor]) -> list[Tensor]:
    """Cut what is shaped like the layer's weights into one tensor per filter.

    Attention gives its query heads, then its key heads, then its value heads (Wang and Sato, section 2.6 of the guide).
    """
    if isinstance(layer, nn.MultiheadAttention):
        parts = tensors[0].chunk(3) if len(tensors) == 1 else tensors
        return [head for part in parts for head in part.chunk(layer.num_heads)]
    (tensor,) = tensors
    if not isinstance(layer, TRANSPOSED):
        return list(tensor)
    inputs_per_group = layer.in_channels // layer.groups
    outputs_per_group = layer.out_channels // layer.groups
    return [
        tensor[group * inputs_per_group : (group + 1) * inputs_per_group, channel]
        for group in range(layer.groups)
        for channel in range(outputs_per_group)
    ]


def rows(value: Any, n: int, count: int) -> Any:
    """Row ``n`` of whatever holds one row per image, as a batch of one."""
    one_per_image = isinstance(value, Tensor) and value.ndim > 0 and len(value) == count
    return value[n : n + 1] if one_per_image else value


def profile_loop(
    model: nn.Module,
    inputs: Tensor | tuple[Tensor, ...],
    target: Tensor | Sequence[Any],
    layers: Sequence[str],
    *,
    loss: Loss = cross_entropy,
    additional_forward_args: tuple[Any, ...] = (),
    one_forward: bool = False,
) -> dict[str, Tensor]:
    """Mean absolute gradient of every filter's weights, image by image: ``{layer: (N, O)}``.

    Takes a deep copy to evaluation mode and lets every parameter need a gradient, so what the caller froze does not
    matter. A weight that the loss does not depend on scores 0.

    Args:
        model: Left as it is.
        inputs: One tensor or several.
        target: ``(N,)``, or whatever ``loss`` takes a slice of.
        layers: Names of the layers, in the order of the result.
        loss: One value per image.
        additional_forward_args: Tensors with N rows are cut, the rest is passed on.
        one_forward: Run the whole batch forward once and go back from one loss at a time. The same numbers with another
            rounding; only for measuring rounding.
    """
    inputs = inputs if isinstance(inputs, tuple) else (inputs,)
    count = len(inputs[0])
    model = deepcopy(model).eval().requires_grad_(True)
    modules = {name: model.get_submodule(name) for name in layers}
    weights = {name: [getattr(module, key) for key in weight_names(module)] for name, module in modules.items()}
    flat = [weight for group in weights.values() for weight in group]
    scores: dict[str, list[list[Tensor]]] = {name: [] for name in layers}
    together = model(*inputs, *additional_forward_args) if one_forward else None
    for n in range(count):
        if together is None:
            logits = model(*(x[n : n + 1] for x in inputs), *(rows(a, n, count) for a in additional_forward_args))
        else:
            logits = together[n : n + 1]
        value = loss(logits, target[n : n + 1])
        gradients = iter(torch.autograd.grad(value.sum(), flat, allow_unused=True, retain_graph=one_forward))
        for name, group in weights.items():
            mine = [torch.zeros_like(w) if (g := next(gradients)) is None else g for w in group]
            scores[name].append([piece.abs().mean() for piece in filter_slices(modules[name], mine)])
    return {name: torch.tensor(table, dtype=flat[0].dtype) for name, table in scores.items()}


def profile_vmap(
    model: nn.Module,
    inputs: Tensor,
    target: Tensor,
    layers: Sequence[str],
    *,
    loss: Loss = cross_entropy,
    additional_forward_args: tuple[Any, ...] = (),
) -> dict[str, Tensor]:
    """The same as :func:`profile_loop`, by ``torch.func``: ``vmap`` over the images of ``grad`` of the loss."""
    model = deepcopy(model).eval().requires_grad_(False)
    keys = {name: [f"{name}.{key}" for key in weight_names(model.get_submodule(name))] for name in layers}
    weights = {key: model.get_parameter(key) for group in keys.values() for key in group}
    weights = {key: weight.detach().clone() for key, weight in weights.items()}

    def value(weights: Mapping[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        logits = functional_call(model, dict(weights), (x[None], *additional_forward_args))
        return loss(logits, y[None]).sum()

    gradients = vmap(grad(value), in_dims=(None, 0, 0))(weights, inputs, target)
    profiles = {}
    for name in layers:
        layer = model.get_submodule(name)
        rows_of_scores = []
        for n in range(len(inputs)):
            pieces = filter_slices(layer, [gradients[key][n] for key in keys[name]])
            rows_of_scores.append(torch.stack([piece.abs().mean() for piece in pieces]))
        profiles[name] = torch.stack(rows_of_scores)
    return profiles


def matrix(profile: Mapping[str, Tensor]) -> Tensor:
    """``(N, F)``: the layers side by side."""
    return torch.cat(list(profile.values()), dim=1)


def moments(profiles: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and sample standard deviation (N - 1) of every column, one row at a time in float64 (Welford 1962)."""
    mean = torch.zeros(profiles.shape[1], dtype=torch.float64)
    squares = torch.zeros_like(mean)
    for n, row in enumerate(profiles.double(), start=1):
        before = row - mean
        mean = mean + before / n
        squares = squares + before * (row - mean)
    return mean, (squares / (len(profiles) - 1)).sqrt()


def standardize(profiles: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """(s - mean) / std in float64; a filter that never varied scores as low as the image's lowest living one."""
    dead = std == 0
    scores = (profiles.double() - mean) / std.where(~dead, torch.ones_like(std))
    lowest = scores[:, ~dead].min(dim=1, keepdim=True).values
    return torch.where(dead, lowest, scores)
