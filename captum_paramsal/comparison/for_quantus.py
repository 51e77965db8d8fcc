"""Methods as Quantus' metrics want them: arrays in, arrays out, built again for every model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import torch
from captum.attr import Attribution
from numpy.typing import NDArray
from torch import Tensor, nn

from captum_paramsal.batch import require_size
from captum_paramsal.comparison.presets import PRESETS, Preset, preset
from captum_paramsal.errors import InputError, TargetError
from captum_paramsal.functional import tensor_of
from captum_paramsal.hooks import Output, scored_model, weight_like
from captum_paramsal.metrics import InputMaps, per_pixel
from captum_paramsal.metrics.model_state import explaining
from captum_paramsal.reference import Reference

Build: TypeAlias = Callable[[nn.Module], Any]
"""From a model to an ``Attribution``, an :class:`InputMaps`, or a function of images and targets."""

_OF_QUANTUS = ("device", "method")
"""Arguments that Quantus adds of its own: where to compute, which the model says, and what it calls the method."""


def quantus_explanation(
    method: str | Preset | Build,
    reference: Reference | None = None,
    *,
    per_channel: bool = False,
    internal_batch_size: int | None = 16,
    seed: int = 0,
    output: Output | None = None,
) -> Callable[..., NDArray[np.float64]]:
    """What Quantus' metrics take for ``explain_func``.

    Some of them change the model and explain it again, so the method is built again at every call, for the model that
    comes with it. The model is explained in evaluation mode and left as it was. Quantus itself is not needed here.

    Args:
        method: A preset's name, see :data:`PRESETS`, a :class:`Preset` of your own, or what makes a method from a
            model, a class such as Captum's ``Saliency``, or a function that returns an ``Attribution``, an
            :class:`~captum_paramsal.metrics.InputMaps`, or a function of ``inputs``, ``target`` and
            ``additional_forward_args``.
        reference: For the presets that score filters against one, taken on the model before it is changed. It is
            carried over to the models that come, which need the same layers.
        per_channel: Maps of the images' shape, for metrics that alter single channels; those that compare with masks of
            objects only take maps of one channel.
        internal_batch_size: Images at once; None for all that Quantus hands over.
        seed: Where the random numbers of the method begin, at every call.
        output: What makes class scores ``(N, C)`` of what the model returns, where it returns something else than
            these or ``logits``.

    Returns:
        A function of ``model``, ``inputs`` ``(N, C, H, W)`` and ``targets`` ``(N,)``, arrays. It returns the signed sum
        over the channels, as Quantus' own ``explain`` does, ``(N, 1, H, W)`` float64; with ``per_channel``
        ``(N, C, H, W)``. Quantus' ``explain_func_kwargs`` are passed on to the method's call. It raises
        :class:`InputError` for a model that is not PyTorch's or for other inputs, and :class:`TargetError` for targets
        that are not one whole number per image.

    Raises:
        InputError: No such preset, no reference where one is needed, or a method that was made for one model already.

    References:
        Hedström, Weber, Krakowczyk, Bareeva, Motzkus, Samek, Lapuschkin, Höhne: *Quantus: An Explainable AI Toolkit for
        Responsible Evaluation of Neural Network Explanations and Beyond*, JMLR 24 (2023).

    >>> model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    >>> explain = quantus_explanation("grad_cam")
    >>> explain(model=model, inputs=np.ones((5, 3, 8, 9)), targets=np.zeros(5, dtype=int)).shape
    (5, 1, 8, 9)
    """
    require_size(internal_batch_size)
    build = _builder(method, reference)

    def explain(model: nn.Module, inputs: Any, targets: Any, **options: Any) -> NDArray[np.float64]:
        if not isinstance(model, nn.Module):
            message = f"Expected a PyTorch model, got {type(model).__name__}."
            raise InputError(message)
        images = _images(inputs, model)
        classes = _classes(targets, len(images)).to(images.device)
        made = build(scored_model(model, output))
        maps = made if isinstance(made, InputMaps) else InputMaps(made)
        own = {name: value for name, value in options.items() if name not in _OF_QUANTUS}
        size, parts = internal_batch_size or len(images), []
        for some, labels in zip(images.split(size), classes.split(size), strict=True):
            with explaining(model, seed):
                found = maps(some, target=labels, **own)
            parts.append(found.cpu().double() if per_channel else per_pixel(found)[:, None])
        whole: NDArray[np.float64] = torch.cat(parts).numpy()
        return whole

    return explain


def _builder(method: str | Preset | Build, reference: Reference | None) -> Build:
    if isinstance(method, (str, Preset)):
        return _build_of(method, reference)
    if isinstance(method, (Attribution, InputMaps)) or not callable(method):
        message = (
            "Expected `method` to be a preset, or what makes a method from a model, such as `Saliency` or "
            f"`lambda model: InputMaps(Saliency(model), abs=False)`, got {type(method).__name__}. Quantus changes the "
            "model, which a method that was made already does not follow."
        )
        raise InputError(message)
    if reference is not None:
        message = (
            "Expected `reference` with a preset only. Give a method of your own its reference where it is made, as "
            "`reference.transfer(model)`."
        )
        raise InputError(message)
    return method


def _build_of(name: str | Preset, reference: Reference | None) -> Build:
    """What makes a preset's method; that it cannot be made is said at once, not when Quantus first asks for maps."""
    if isinstance(name, str) and name not in PRESETS:
        preset(name, nn.Identity())
    chosen = PRESETS[name] if isinstance(name, str) else name
    if chosen.needs_reference and reference is None:
        message = f"Expected a `reference` for {name if isinstance(name, str) else 'this preset'!r}, got None."
        raise InputError(message)
    return lambda model: chosen.build(model, None if reference is None else reference.transfer(model))


def _images(inputs: Any, model: nn.Module) -> Tensor:
    """Images of the model's dtype on its device; Quantus' perturbed ones come in double precision."""
    given = inputs if isinstance(inputs, Tensor) else np.asarray(inputs)
    if given.ndim != 4 or 0 in given.shape or not (isinstance(given, Tensor) or given.dtype.kind in "fiu"):
        message = f"Expected `inputs` (N, C, H, W) of numbers, got {given.dtype} {tuple(given.shape)}."
        raise InputError(message)
    images: Tensor = tensor_of(given).to(weight_like(model))
    return images


def _classes(targets: Any, count: int) -> Tensor:
    classes = targets.detach().cpu().numpy() if isinstance(targets, Tensor) else np.asarray(targets)
    if classes.shape != (count,) or classes.dtype.kind not in "iu":
        message = (
            f"Expected `targets` with one class per image, ({count},) integers, got {classes.dtype} {classes.shape}."
        )
        raise TargetError(message)
    return torch.tensor(classes.astype(np.int64))
