"""What a model says of itself: how photos are prepared, and what its classes are called."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from torch import nn

from captum_paramsal.errors import SourceError
from captum_paramsal.sources.classes import ClassNames
from captum_paramsal.sources.preprocessing import Preprocessing, Resize

_CROP = 0.875
"""Share of the shorter side that is cut out, where a model does not say so; timm's default."""

_RESIZE: Mapping[str, Resize] = {"center": "crop", "squash": "squash, crop"}


def carried_preprocessing(model: nn.Module) -> Preprocessing | None:
    """The preparation in a model's ``pretrained_cfg``, as timm's models carry it; None without one.

    Raises:
        SourceError: Something that cannot be done here, such as a model that takes no squares.
    """
    settings = getattr(model, "pretrained_cfg", None)
    if not isinstance(settings, Mapping) or "input_size" not in settings:
        return None
    channels, height, width = settings["input_size"]
    mode = settings.get("crop_mode") or "center"
    if height != width or channels not in (1, 3) or mode not in _RESIZE:
        message = (
            "Expected a model that takes squares of 1 or 3 channels cut out of the centre, got a `pretrained_cfg` with "
            f"input_size {tuple(settings['input_size'])} and crop_mode {mode!r}. Prepare the images in Python."
        )
        raise SourceError(message)
    mean, std = (tuple(map(float, settings[name])) for name in ("mean", "std"))
    return Preprocessing(
        image_size=height,
        short_side=math.floor(height / (settings.get("crop_pct") or _CROP)),
        resize=_RESIZE[mode],
        mean=mean,
        std=std,
        interpolation=settings.get("interpolation") or "bilinear",
        origin="the model's pretrained_cfg",
    )


def carried_classes(model: nn.Module) -> ClassNames | None:
    """Names of classes in a model's ``config.id2label`` or ``pretrained_cfg``; None where they are numbers alone."""
    named: Any = getattr(getattr(model, "config", None), "id2label", None)
    if isinstance(named, Mapping) and named:
        names = {int(number): str(name) for number, name in named.items()}
        return None if all(name == f"LABEL_{number}" for number, name in names.items()) else ClassNames(names)
    settings = getattr(model, "pretrained_cfg", None)
    labels = settings.get("label_names") if isinstance(settings, Mapping) else None
    if not labels:
        return None
    described = settings.get("label_descriptions") if isinstance(settings, Mapping) else None
    descriptions = described if isinstance(described, Mapping) else {}
    words = {number: str(descriptions.get(label, label)) for number, label in enumerate(labels)}
    return ClassNames(words, {str(label): number for number, label in enumerate(labels)})
