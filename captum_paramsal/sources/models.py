"""Models by name: torchvision's classifiers and anything that can be imported."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from torch import nn

from captum_paramsal.errors import SourceError
from captum_paramsal.sources import zoo
from captum_paramsal.sources.classes import ClassNames
from captum_paramsal.sources.preprocessing import Preprocessing
from captum_paramsal.sources.weights import head_size, load_strictly, read_state_dict


def load_model(name: str, weights: str | Path | None = None) -> nn.Module:
    """A classifier in evaluation mode.

    Args:
        name: One of torchvision's classifiers, or ``package.module:callable`` with a callable that takes no
            argument and returns a module; the working directory can be imported from.
        weights: A safetensors or state-dict file, or the name of weights that torchvision publishes, such as
            ``DEFAULT``. None leaves the model as it was built: untrained, if it is torchvision's. For a file
            that differs from torchvision's model in the number of classes alone, the model gets that number.

    Raises:
        SourceError: Unknown model or weights, or weights that do not fit.
    """
    if ":" in name:
        model = _imported(name)
        if weights is not None:
            load_strictly(model, read_state_dict(Path(weights), model), f"'{weights}'")
        return model.eval()
    _require_known(name)
    model = zoo.build(name)
    if weights is None:
        return model.eval()
    if Path(weights).is_file():
        state, origin = read_state_dict(Path(weights), model), f"'{weights}'"
    else:
        _require_weights(name, str(weights))
        state, origin = zoo.download(name, str(weights)), str(weights)
    classes = head_size(model, state)
    if classes is not None:
        model = zoo.build(name, num_classes=classes)
    load_strictly(model, state, origin)
    return model.eval()


def preprocessing_of(name: str, weights: str | Path | None = None) -> Preprocessing:
    """The preparation that belongs to a model: torchvision's preset, or the usual ImageNet one.

    Weights from a file do not tell how they were trained: they get the preset of the architecture's first
    published weights.
    """
    if ":" in name:
        return Preprocessing()
    _require_known(name)
    return zoo.preprocessing_preset(name, None if weights is None else str(weights))


def class_names_of(name: str, model: nn.Module) -> ClassNames | None:
    """The classes that torchvision publishes for a model, if the model has as many; else None."""
    if ":" in name or not zoo.is_known(name):
        return None
    categories = zoo.member_of(name, None).meta.get("categories", [])
    heads = [m for m in model.modules() if isinstance(m, (nn.Linear, nn.Conv2d))]
    last = heads[-1]
    size = last.out_features if isinstance(last, nn.Linear) else last.out_channels
    return ClassNames(dict(enumerate(categories))) if size == len(categories) else None


def _require_known(name: str) -> None:
    if not zoo.is_known(name):
        nearest = ", ".join(zoo.suggest_names(name)) or "none comes near; see torchvision.models.list_models()"
        message = (
            f"Expected `--model` to be one of torchvision's classifiers or `package.module:callable`, "
            f"got {name!r}. Nearest: {nearest}."
        )
        raise SourceError(message)


def _require_weights(name: str, weights: str) -> None:
    known = zoo.member_names(name)
    if weights.rsplit(".", 1)[-1] not in known:
        message = (
            f"Expected `--weights` to be a file or one of {', '.join(known)} for {name}, got {weights!r}, "
            "which is neither."
        )
        raise SourceError(message)


def _imported(name: str) -> nn.Module:
    module_name, _, attribute = name.partition(":")
    with _working_directory_importable():
        try:
            module = importlib.import_module(module_name)
        except Exception as error:  # whatever a user's module raises while it is imported
            message = f"Expected to import '{module_name}' for {name!r}, got {type(error).__name__}: {error}."
            raise SourceError(message) from error
        if not hasattr(module, attribute):
            message = f"Expected '{module_name}' to have {attribute!r}, got a module without it."
            raise SourceError(message)
        found = getattr(module, attribute)
        if isinstance(found, nn.Module):
            return found
        try:
            model = found()
        except Exception as error:  # whatever a user's callable raises
            message = f"Expected {name!r} to return a model when called without arguments, got "
            raise SourceError(message + f"{type(error).__name__}: {error}.") from error
    if not isinstance(model, nn.Module):
        message = f"Expected {name!r} to return a torch.nn.Module, got a {type(model).__name__}."
        raise SourceError(message)
    return model


@contextmanager
def _working_directory_importable() -> Iterator[None]:
    # A console script, unlike `python -m`, does not look into the working directory.
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        yield
    finally:
        sys.path.remove(here)
