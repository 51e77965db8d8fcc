"""Layer-wise relevance propagation by zennit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights, fuse_linear_bn_weights

from captum_paramsal.batch import Form, ModelInputs, forward_errors, forward_scores
from captum_paramsal.comparison.presets.registry import _Multiplying, register_preset, required
from captum_paramsal.errors import LayerError, ModelError
from captum_paramsal.functional import scores_at
from captum_paramsal.graph import Network, RelevanceRun, batch_norms_after, without_relevance
from captum_paramsal.hooks import frozen_eval, readout, whole_model, without_hooks
from captum_paramsal.hooks.calls import tensors_in
from captum_paramsal.metrics import InputMaps
from captum_paramsal.profiles.influence import is_close
from captum_paramsal.reference import Reference


@register_preset(
    "lrp",
    description="LRP by zennit: epsilon in linear layers, alpha 1 in convolutions, flat in the first (CNNs)",
    by_default=False,
)
def _lrp(model: nn.Module, _: Reference | None) -> InputMaps:
    composites = required("zennit.composites", "lrp", "lrp")
    norms_of: dict[Form, Mapping[str, str]] = {}

    def attribute(inputs: Any, target: Any = None, additional_forward_args: Any = None) -> Tensor:
        batch = ModelInputs.of(inputs, target, additional_forward_args, model=model)
        with frozen_eval(model):
            if batch.form not in norms_of:
                norms_of[batch.form] = _norms(model, batch.part(0, 1))
            # zennit replaces weights while it works: those of a copy.
            copy = without_hooks(whole_model(model))
            _merge(copy, norms_of[batch.form])
            with composites.EpsilonPlusFlat().context(copy):
                return _relevance(model, copy, batch)

    return InputMaps(_Multiplying(attribute))


def _norms(model: nn.Module, image: ModelInputs) -> Mapping[str, str]:
    """The batch norms that are a part of the layer before them, by its name.

    Raises:
        LayerError: The model does something that has no rule.
    """
    with forward_errors(image.shapes):
        network = image.passed_to(lambda *args, **kwargs: Network.of(model, *args, **kwargs))
    modules = dict(network.model.named_modules())
    norms = {
        layer: norm
        for layer, norm in batch_norms_after(network).items()
        if isinstance(modules[norm], nn.modules.batchnorm._BatchNorm)  # noqa: SLF001 -- the base of all of them
        and modules[norm].running_var is not None
    }
    obstacle = without_relevance(network, norms.values())
    if obstacle is not None:
        message = (
            "Expected a model of operations that 'lrp' has rules for (convolutions and linear layers, batch norms "
            "right after them, activations, pools, means and sums), got "
            f"{obstacle}. Take 'input_x_gradient' or 'deep_lift', or 'gradient_x_attention' for a transformer."
        )
        raise LayerError(message)
    return norms


def _merge(model: nn.Module, norms: Mapping[str, str]) -> None:
    """Make the batch norms a part of the layers before them."""
    for layer_name, norm_name in norms.items():
        layer: Any = model.get_submodule(layer_name)
        norm: Any = model.get_submodule(norm_name)
        statistics = norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
        if isinstance(layer, nn.Linear):
            layer.weight, layer.bias = fuse_linear_bn_weights(layer.weight, layer.bias, *statistics)
        else:
            turned = bool(getattr(layer, "transposed", False))
            layer.weight, layer.bias = fuse_conv_bn_weights(layer.weight, layer.bias, *statistics, transpose=turned)
        for parameter in (layer.weight, layer.bias):
            parameter.requires_grad_(False)  # noqa: FBT003
        norm.running_mean, norm.running_var = torch.zeros_like(norm.running_mean), torch.ones_like(norm.running_var)
        norm.weight = norm.bias = None
        norm.eps = 0.0


def _relevance(model: nn.Module, copy: nn.Module, batch: ModelInputs) -> Tensor:
    """Relevance of every value of the images; that of a class score is the score."""
    (images,) = batch.inputs
    leaf = images.detach().clone().requires_grad_()
    with RelevanceRun():
        returned = replace(batch, inputs=(leaf,)).passed_to(copy)
    scores, labels = scores_at(readout(model)(returned), batch.labels)
    with torch.no_grad():
        plain, _ = scores_at(forward_scores(model, batch), batch.labels)
    if not is_close(scores.detach(), plain):
        message = (
            f"Expected the same class scores of {type(model).__name__} without its hooks, and with batch norms as a "
            "part of the layers before them: 'lrp' cannot follow what it does."
        )
        raise ModelError(message)
    tensors = [tensor for tensor in tensors_in(returned) if tensor.requires_grad]
    slopes = torch.autograd.grad(scores.gather(1, labels[:, None]).sum(), tensors, retain_graph=True, allow_unused=True)
    known = [(tensor, slope) for tensor, slope in zip(tensors, slopes, strict=True) if slope is not None]
    starts = [tensor.detach() * slope for tensor, slope in known]
    (relevance,) = torch.autograd.grad([tensor for tensor, _ in known], leaf, starts)
    return relevance
