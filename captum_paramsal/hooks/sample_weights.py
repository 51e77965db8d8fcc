"""Weight gradients of every example through any module: exact, and slower than a rule for the layer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias
from warnings import catch_warnings, filterwarnings

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from captum_paramsal.hooks.calls import LayerCall, tensors_in

Rows: TypeAlias = dict[int | str, Tensor]
WeightObjective: TypeAlias = Callable[[dict[str, Tensor], Rows, list[Tensor]], Tensor]


def sample_weight_gradients(
    module: nn.Module,
    weights: Mapping[str, Tensor],
    call: LayerCall,
    batched: frozenset[int | str],
    output_gradients: Sequence[Tensor | None],
) -> dict[str, Tensor]:
    """Gradient of some of a module's parameters for every example.

    Args:
        module: The module, in evaluation mode.
        weights: Its parameters to take gradients of, by their name in ``module.named_parameters()``.
        call: What it was called with.
        batched: Places and names of the arguments that hold one row per example.
        output_gradients: Gradient of the loss with respect to each tensor that the module returns, ``(N, ...)``.

    Returns:
        ``(N, *shape)`` by name.
    """
    used = [place for place, gradient in enumerate(output_gradients) if gradient is not None]
    gradients = [gradient for gradient in output_gradients if gradient is not None]
    rows = {key: value for key, value in call.named().items() if key in batched}

    def objective(weights: dict[str, Tensor], rows: Rows, gradients: list[Tensor]) -> Tensor:
        given = call.named() | {key: value.unsqueeze(0) for key, value in rows.items()}
        args = tuple(value for key, value in given.items() if isinstance(key, int))
        kwargs = {key: value for key, value in given.items() if isinstance(key, str)}
        outputs = tensors_in(functional_call(module, weights, args, kwargs))
        products = [outputs[p] * g.unsqueeze(0) for p, g in zip(used, gradients, strict=True)]
        return torch.stack([product.sum() for product in products]).sum()

    originals = {name: weight.detach() for name, weight in weights.items()}
    try:
        with catch_warnings():
            # Operations that `vmap` runs in a loop are slow, not wrong.
            filterwarnings("ignore", message="There is a performance drop")
            return vmap(grad(objective), in_dims=(None, 0, 0))(originals, rows, gradients)  # type: ignore[no-any-return]
    except (RuntimeError, ValueError):
        # What `vmap` cannot batch, such as steps that depend on values, runs one example at a time.
        return _one_by_one(objective, originals, rows, gradients)


def _one_by_one(
    objective: WeightObjective, weights: dict[str, Tensor], rows: Rows, gradients: list[Tensor]
) -> dict[str, Tensor]:
    samples = []
    for n in range(len(gradients[0])):
        leaves = {name: weight.requires_grad_() for name, weight in weights.items()}
        value = objective(leaves, {key: row[n] for key, row in rows.items()}, [g[n] for g in gradients])
        samples.append(torch.autograd.grad(value, list(leaves.values()), create_graph=_in_graph(rows, gradients)))
    stacked = [torch.stack(parts) for parts in zip(*samples, strict=True)]
    return dict(zip(weights, stacked, strict=True))


def _in_graph(rows: Rows, gradients: list[Tensor]) -> bool:
    return any(tensor.requires_grad for tensor in (*rows.values(), *gradients))
