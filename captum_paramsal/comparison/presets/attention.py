"""Methods that follow the attention of a transformer from its last tokens to the places of the image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from captum_paramsal.batch import Form, ModelInputs, forward_errors, forward_scores
from captum_paramsal.comparison.presets.registry import _Multiplying, register_preset
from captum_paramsal.errors import LayerError
from captum_paramsal.functional import attention_relevance, attention_rollout, scores_at
from captum_paramsal.graph import MapsLayout, Network, tokens_layout
from captum_paramsal.hooks import attention_layers, frozen_eval, watched_attention
from captum_paramsal.metrics import InputMaps
from captum_paramsal.reference import Reference


@dataclass(frozen=True)
class _Attention:
    """Attention of a batch, and the score that it led to.

    Attributes:
        shares: Of each layer in the order in which they ran, ``(N, heads, T, T)``.
        score: Of the label, one for each image, ``(N,)``.
    """

    shares: Sequence[Tensor]
    score: Tensor

    def gradients(self, layers: Sequence[Tensor]) -> list[Tensor]:
        """Gradients of the scores with respect to shares."""
        found = torch.autograd.grad(self.score.sum(), layers, allow_unused=True)
        return [torch.zeros_like(a) if g is None else g for a, g in zip(layers, found, strict=True)]


def _rollout(seen: _Attention) -> tuple[Tensor, Tensor]:
    return attention_rollout(seen.shares), seen.gradients(seen.shares[-1:])[0]


def _relevance(seen: _Attention) -> tuple[Tensor, Tensor]:
    gradients = seen.gradients(seen.shares)
    return attention_relevance(seen.shares, gradients), gradients[-1]


@register_preset(
    "attention_rollout",
    description="attention of all layers multiplied, the same for every class (transformers)",
    by_default=False,
)
def _attention_rollout(model: nn.Module, _: Reference | None) -> InputMaps:
    return _of_attention(model, "attention_rollout", _rollout)


@register_preset(
    "gradient_x_attention",
    description="attention times its gradient, added up over the layers (Chefer et al., transformers)",
    by_default=False,
)
def _gradient_x_attention(model: nn.Module, _: Reference | None) -> InputMaps:
    return _of_attention(model, "gradient_x_attention", _relevance)


def _of_attention(model: nn.Module, method: str, equation: Callable[[_Attention], tuple[Tensor, Tensor]]) -> InputMaps:
    """A method that makes ``(N, T, T)``, and the gradient of the last shares, of all attention."""
    known = attention_layers(model)
    if not known:
        message = (
            f"Expected a model with attention for {method!r}, got {type(model).__name__}, in which no attention layer "
            "is known. Take 'grad_cam' or 'layer_cam' for a network of convolutions; for attention of your own see "
            "`captum_paramsal.hooks.heads_of`."
        )
        raise LayerError(message)
    layouts: dict[Form, tuple[tuple[str, ...], MapsLayout]] = {}

    def attribute(inputs: Any, target: Any = None, additional_forward_args: Any = None) -> Tensor:
        batch = ModelInputs.of(inputs, target, additional_forward_args, model=model)
        with frozen_eval(model):
            if batch.form not in layouts:
                layouts[batch.form] = _layout(model, batch.part(0, 1), known, method)
            layers, layout = layouts[batch.form]
            with watched_attention(model, layers) as watched:
                scores, labels = scores_at(forward_scores(model, batch), batch.labels)
                seen = _Attention([each.latest for each in watched], scores.gather(1, labels[:, None])[:, 0])
            relevance, gradient = equation(seen)
        # What the scores read, be it a class token or the mean of all, alone has a gradient in the last layer.
        read = (gradient != 0).any(dim=-1).any(dim=1).to(relevance)
        rows = torch.einsum("nt,nts->ns", read, relevance) / read.sum(dim=1, keepdim=True).clamp(min=1)
        return layout.maps(rows.detach()[..., None])

    return InputMaps(_Multiplying(attribute))


def _layout(
    model: nn.Module, image: ModelInputs, known: Sequence[str], method: str
) -> tuple[tuple[str, ...], MapsLayout]:
    """The attention layers in the order in which they run, and how their tokens lie in the image."""
    with forward_errors(image.shapes):
        network = image.passed_to(lambda *args, **kwargs: Network.of(model, *args, **kwargs))
    layers = tuple(name for name in network.calls if name in known)
    with watched_attention(model, layers) as watched, torch.no_grad():
        forward_scores(model, image)
        shapes = {tuple(each.latest.shape) for each in watched}
    sizes = {(shape[0], *shape[2:]) for shape in shapes}
    tokens = next((size[1] for size in sizes), 0)
    layout = tokens_layout(network, network.outputs[0], tokens) if sizes == {(1, tokens, tokens)} else None
    if layout is None:
        got = ", ".join(map(str, sorted(shapes))) or "none"
        message = (
            f"Expected all attention layers to mix the same tokens of places, (N, heads, T, T), for {method!r}, got "
            f"shares {got}. Attention in windows or of a shrinking number of tokens cannot be multiplied: take "
            "'grad_cam_plus_plus' or 'layer_cam'."
        )
        raise LayerError(message)
    return layers, layout
