"""What torchvision knows of its own classifiers: how to build and feed them, and where weights are."""

from __future__ import annotations

import difflib
from types import ModuleType
from typing import Any

from torch import Tensor, nn

from captum_paramsal.errors import SourceError
from captum_paramsal.sources.preprocessing import Preprocessing

# Left to themselves these two warn that a default will change; weights follow in any case.
_QUIET_BUILD = {"googlenet": {"init_weights": False}, "inception_v3": {"init_weights": False}}


def zoo() -> ModuleType:
    """The module ``torchvision.models``, imported only when it is first needed.

    Raises:
        SourceError: torchvision is missing, or was built for another torch.
    """
    try:
        import torchvision.models  # noqa: PLC0415
    except (ImportError, RuntimeError, OSError, AttributeError) as error:
        message = (
            f"Expected a torchvision that fits the installed torch, got {type(error).__name__}: {error}. "
            "Install the two together (`pip install --upgrade torch torchvision`), or name your own model as "
            "`package.module:callable`."
        )
        raise SourceError(message) from error
    module: ModuleType = torchvision.models
    return module


def knows(name: str) -> bool:
    """Whether torchvision has a classifier of this name."""
    return name in _classifier_names()


def suggest_names(name: str) -> list[str]:
    """The classifiers whose names come nearest, at most five."""
    return difflib.get_close_matches(name.lower(), _classifier_names(), n=5, cutoff=0.5)


def build(name: str, num_classes: int | None = None) -> nn.Module:
    """An untrained classifier.

    Args:
        name: One that ``knows``.
        num_classes: Width of the head, if not the architecture's own.
    """
    options: dict[str, Any] = dict(_QUIET_BUILD.get(name, {}))
    if num_classes is not None:
        options["num_classes"] = num_classes
    model: nn.Module = zoo().get_model(name, weights=None, **options)
    return model


def member_names(name: str) -> list[str]:
    """Names of the pretrained weights of a classifier, ``DEFAULT`` first."""
    return sorted(zoo().get_model_weights(name).__members__, key=lambda member: member != "DEFAULT")


def member_of(name: str, weights: str | None) -> Any:
    """The entry of torchvision's weight table: the one named, or the first one published.

    Weights from a file do not say which recipe made them; the first published one is the one that other
    trainings follow.
    """
    table = zoo().get_model_weights(name)
    wanted = (weights or "").rsplit(".", 1)[-1]
    if wanted in table.__members__:
        return table[wanted]
    return next(iter(table))


def download(name: str, weights: str) -> dict[str, Tensor]:
    """The state dict of named weights, from torch's cache or the network.

    Raises:
        SourceError: They are not in the cache and cannot be fetched.
    """
    member = member_of(name, weights)
    try:
        state: dict[str, Tensor] = member.get_state_dict(progress=True, check_hash=True)
    except (OSError, RuntimeError) as error:
        message = (
            f"Expected to fetch the weights {member} from {member.url}, got {type(error).__name__}: {error}. "
            "Give a file that is already there: `--weights FILE`."
        )
        raise SourceError(message) from error
    return state


def preprocessing_preset(name: str, weights: str | None) -> Preprocessing:
    """The preparation of a photo that belongs to a classifier; needs no download."""
    transform = member_of(name, weights).transforms()
    return Preprocessing(
        image_size=int(transform.crop_size[0]),
        short_side=int(transform.resize_size[0]),
        mean=tuple(transform.mean),
        std=tuple(transform.std),
        interpolation=transform.interpolation.value,
    )


def _classifier_names() -> list[str]:
    models = zoo()
    names: list[str] = models.list_models(module=models)
    return names
