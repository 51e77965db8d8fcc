"""What timm knows of its own classifiers: how to build them, and by name where weights are."""

from __future__ import annotations

import difflib
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from captum_paramsal.errors import SourceError
from captum_paramsal.sources.classes import ClassNames

_PRETRAINED = ("DEFAULT", "pretrained")
"""Weights by name: those that timm publishes for an architecture."""


def timm_zoo() -> ModuleType:
    """The package ``timm``, imported only when it is first needed.

    Raises:
        SourceError: It is not installed, or does not fit the installed torch.
    """
    try:
        import timm  # noqa: PLC0415
    except (ImportError, RuntimeError, OSError, AttributeError) as error:
        message = (
            f"Expected timm for a model `timm:NAME`, got {type(error).__name__}: {error}. Install it: "
            '`pip install "captum-paramsal[timm]"`.'
        )
        raise SourceError(message) from error
    module: ModuleType = timm
    return module


def has_own_weights(name: str) -> bool:
    """Whether weights come with a name: that of a folder which timm wrote, or of a model on Hugging Face's hub."""
    return name.startswith(("hf-hub:", "local-dir:")) or Path(name).is_dir()


def build_timm(name: str, weights: str | None = None, num_classes: int | None = None) -> nn.Module:
    """A classifier of timm.

    Args:
        name: Of an architecture, with or without a tag (``resnet18.a1_in1k``); a folder that timm's ``save_for_hf``
            wrote; or ``hf-hub:...``.
        weights: ``DEFAULT`` for those that timm publishes; None for none, where they do not come with the name.
        num_classes: Width of the head, if not the architecture's own.

    Raises:
        SourceError: No such model or weights, or they cannot be fetched.
    """
    timm = timm_zoo()
    published = has_own_weights(name)
    if not published and not timm.is_model(name.partition(".")[0]):
        near = difflib.get_close_matches(name, timm.list_models(), n=5, cutoff=0.5)
        message = f"Expected `timm:NAME` with one of timm's models or a folder that timm wrote, got {name!r}. Nearest: "
        raise SourceError(message + (", ".join(near) or "none comes near; see timm.list_models()") + ".")
    if weights is not None and weights not in _PRETRAINED:
        message = f"Expected `--weights` to be a file, or DEFAULT for what timm publishes for {name}, got {weights!r}."
        raise SourceError(message)
    options: dict[str, Any] = {} if num_classes is None else {"num_classes": num_classes}
    source = f"local-dir:{name}" if published and not name.startswith(("hf-hub:", "local-dir:")) else name
    try:
        model: nn.Module = timm.create_model(source, pretrained=published or weights is not None, **options)
    except Exception as error:  # reading, fetching and fitting weights raise nearly anything
        message = (
            f"Expected to build timm's {name!r}{' with its weights' if published or weights else ''}, got "
            f"{type(error).__name__}: {error}."
        )
        raise SourceError(message) from error
    return model


def imagenet_names(model: nn.Module) -> ClassNames | None:
    """Names of ImageNet's classes, where timm knows a model to have been made for some of them."""
    from timm.data import ImageNetInfo, infer_imagenet_subset  # noqa: PLC0415

    subset = infer_imagenet_subset(model)
    if subset is None:
        return None
    info = ImageNetInfo(subset)
    wordnet = {word: number for number, word in enumerate(info.label_names())}
    return ClassNames(dict(enumerate(info.label_descriptions())), wordnet)
