"""Methods that weigh the last feature maps: the family of Grad-CAM."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch
from captum.attr import LayerGradCam
from torch import Tensor, nn

from captum_paramsal.attr import ModelDoctor
from captum_paramsal.batch import ModelInputs, forward_scores
from captum_paramsal.comparison.presets.registry import _Multiplying, register_preset
from captum_paramsal.doctor.layer_pass import GRAPH_BYTES, LayerActivations
from captum_paramsal.doctor.split_model import SplitModel
from captum_paramsal.functional import (
    ablation_cam,
    channel_masks,
    finer_cam,
    grad_cam,
    grad_cam_plus_plus,
    layer_cam,
    nearest_classes,
    score_cam,
    scores_at,
)
from captum_paramsal.graph import maps_layout, probed_network
from captum_paramsal.hooks import frozen_eval, unwrap
from captum_paramsal.metrics import InputMaps
from captum_paramsal.reference import Reference

SIMILAR_CLASSES = 3
"""Classes that Finer-CAM tells a class from."""


MASKED_AT_ONCE = 16
"""Masked copies of an image that Score-CAM runs together."""


def last_maps_of(model: nn.Module) -> nn.Module:
    """The module that returns the last feature maps."""
    return unwrap(model).get_submodule(_last_layer(model))


def _last_layer(model: nn.Module) -> str:
    # The doctor finds it, and says what to do where there is none.
    return ModelDoctor(model, noise_samples=0).layer_name


def _of_last_maps(model: nn.Module, equation: Callable[[LayerActivations], Tensor]) -> InputMaps:
    """A method that makes maps ``(N, 1, H, W)`` of what is seen at the last feature maps."""
    split, layer = SplitModel(model), _last_layer(model)

    def attribute(inputs: Any, target: Any = None, additional_forward_args: Any = None) -> Tensor:
        batch = ModelInputs.of(inputs, target, additional_forward_args, model=model)
        with frozen_eval(model):
            return torch.cat([equation(one) for one in split.activations(batch, layer, None)])

    return InputMaps(_Multiplying(attribute))


@register_preset("grad_cam", description="Grad-CAM at the last feature maps, positive part")
def _grad_cam(model: nn.Module, _: Reference | None) -> InputMaps:
    if has_channels_last(model):
        # Captum takes dimension 1 for the channels.
        return _of_last_maps(model, lambda one: grad_cam(one.gradients(one.maps, one.labels), one.maps))
    return InputMaps(LayerGradCam(model, last_maps_of(model)), relu_attributions=True)


def has_channels_last(model: nn.Module) -> bool:
    """Whether the last feature maps are tokens, or have their channels last."""
    layer = _last_layer(model)
    with frozen_eval(model):
        network = probed_network(model)
    returned = None if network is None else network.calls[layer][0].returned
    layout = None if network is None or returned is None else maps_layout(network, returned)
    return layout is not None and layout.channels_last


@register_preset("grad_cam_plus_plus", description="Grad-CAM++ at the last feature maps, positive part")
def _grad_cam_plus_plus(model: nn.Module, _: Reference | None) -> InputMaps:
    return _of_last_maps(model, lambda one: grad_cam_plus_plus(one.gradients(one.maps, one.labels), one.maps))


@register_preset("layer_cam", description="LayerCAM: positive gradients times the last feature maps", by_default=False)
def _layer_cam(model: nn.Module, _: Reference | None) -> InputMaps:
    return _of_last_maps(model, lambda one: layer_cam(one.gradients(one.maps, one.labels), one.maps))


@register_preset(
    "finer_cam", description="Grad-CAM of the class score less 0.6 of those of the 3 nearest classes", by_default=False
)
def _finer_cam(model: nn.Module, _: Reference | None) -> InputMaps:
    def equation(one: LayerActivations) -> Tensor:
        scores, labels = scores_at(one.scores, one.labels)
        similar = nearest_classes(scores, labels, min(SIMILAR_CLASSES, scores.shape[1] - 1))
        others = [torch.cat([column[:, None], one.labels[:, 1:]], dim=1) for column in similar.T]
        gradients, *of_similar = (one.gradients(one.maps, rows) for rows in (one.labels, *others))
        return finer_cam(gradients, torch.stack(of_similar), one.maps)

    return _of_last_maps(model, equation)


@register_preset(
    "ablation_cam",
    description="Ablation-CAM: last feature maps, each by how much the class score falls without it",
    by_default=False,
)
def _ablation_cam(model: nn.Module, _: Reference | None) -> InputMaps:
    return _of_last_maps(model, lambda one: ablation_cam(_drops(one), one.maps))


def _drops(one: LayerActivations) -> Tensor:
    """By how much the class score falls when a channel of the maps is zero, ``(N, K)``."""
    scores, labels = scores_at(one.scores, one.labels)
    without = []
    with torch.no_grad():
        for channels in _parts(one):
            copies = one.maps.repeat(len(channels), *[1] * (one.maps.ndim - 1)).unflatten(0, (-1, len(one)))
            copies[torch.arange(len(channels), device=channels.device), :, channels] = 0
            rows = one.labels.repeat(len(channels), 1)
            without.append(one.run(copies.flatten(0, 1), rows, "logit").unflatten(0, (len(channels), -1)))
    return scores.gather(1, labels[:, None]) - torch.cat(without).T


def _parts(one: LayerActivations) -> Iterator[Tensor]:
    """Numbers of channels that are taken away in one pass, so that the copies of the maps stay small."""
    size = one.maps.numel() * one.maps.element_size()
    copies = max(1, min(one.copies(None), GRAPH_BYTES // max(1, size)))
    yield from torch.arange(one.maps.shape[1], device=one.maps.device).split(copies)


@register_preset(
    "score_cam",
    description="Score-CAM: last feature maps, each by the class score of the image under it as a mask",
    by_default=False,
)
def _score_cam(model: nn.Module, _: Reference | None) -> InputMaps:
    def equation(one: LayerActivations) -> Tensor:
        numbers = torch.arange(len(one)).split(1)
        return torch.cat([score_cam(_masked_scores(model, image), image.maps) for image in map(one.chosen, numbers)])

    return _of_last_maps(model, equation)


def _masked_scores(model: nn.Module, one: LayerActivations) -> Tensor:
    """Scores of the class for an image under the mask of each channel, ``(1, K)``; NaN for those without a mask."""
    (image,) = one.batch.inputs
    masks = channel_masks(one.maps, (image.shape[-2], image.shape[-1]))[0]
    known = (~masks.isnan().flatten(1).any(dim=1)).nonzero()[:, 0]
    scores = masks.new_full((1, len(masks)), torch.nan)
    with torch.no_grad():
        # One at a time where images influence each other.
        for some in known.split(one.copies(MASKED_AT_ONCE)):
            copies = one.batch.chosen(torch.zeros(len(some), dtype=torch.long))
            masked = replace(copies, inputs=(image * masks[some, None].to(image),))
            found, labels = scores_at(forward_scores(model, masked), one.labels.expand(len(some), -1))
            scores[0, some] = found.gather(1, labels[:, None])[:, 0]
    return scores
