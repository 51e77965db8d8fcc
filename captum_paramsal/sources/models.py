"""Models by name: classifiers of torchvision, timm and Hugging Face, and anything that can be imported."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from torch import nn

from captum_paramsal.errors import SourceError
from captum_paramsal.sources import hugging_face, timm_zoo, zoo
from captum_paramsal.sources.carried import carried_classes, carried_preprocessing
from captum_paramsal.sources.classes import ClassNames
from captum_paramsal.sources.preprocessing import Preprocessing
from captum_paramsal.sources.weights import head_size, load_strictly, read_state_dict


def load_model(name: str, weights: str | Path | None = None) -> nn.Module:
    """A classifier in evaluation mode.

    Args:
        name: One of torchvision's classifiers; ``timm:NAME`` with one of timm's, or with a folder that timm's
            ``save_for_hf`` wrote; ``hf:NAME`` with a folder that ``save_pretrained`` wrote, or a name on Hugging Face's
            hub; or ``package.module:callable`` with a callable that takes no argument and returns a module; the working
            directory can be imported from.
        weights: A safetensors or state-dict file, or the name of weights that torchvision or timm publish, such as
            ``DEFAULT``. None leaves the model as it was built: untrained, if it is an architecture alone. For a file
            that differs from the architecture in the number of classes alone, the model gets that number.

    Raises:
        SourceError: Unknown model or weights, or weights that do not fit.
    """
    library, _, within = name.partition(":")
    if library == "hf":
        return (
            _with_file(hugging_face.untrained(within), weights) if weights else hugging_face.pretrained(within).eval()
        )
    if library == "timm":
        return _built(lambda named, classes: timm_zoo.build_timm(within, named, classes), weights)
    if within:
        return _with_file(_imported(name), weights)
    _require_known(name)
    if weights is not None and not Path(weights).is_file():
        _require_weights(name, str(weights))
    return _built(lambda named, classes: _torchvision_model(name, named, classes), weights)


def has_weights(name: str) -> bool:
    """Whether a name brings its weights along, so that no others are needed: a folder, a hub's, or a callable's."""
    library, _, within = name.partition(":")
    return bool(within) and (library != "timm" or timm_zoo.has_own_weights(within))


def preprocessing_of(name: str, weights: str | Path | None = None, model: nn.Module | None = None) -> Preprocessing:
    """The preparation that belongs to a model: that of its library, the one that it carries, or the usual ImageNet one.

    Weights from a file do not tell how they were trained: they get the preset of the architecture's first
    published weights.

    Args:
        name: See :func:`load_model`.
        weights: The same.
        model: The model, where it was loaded already. One of ``package.module:callable`` that carries a
            ``pretrained_cfg``, as timm's models do, gets what that says.

    Raises:
        SourceError: Unknown model, or a preparation that cannot be done here.
    """
    library, _, within = name.partition(":")
    if library == "hf":
        return hugging_face.preprocessing_from(within)
    if library == "timm" and model is None:
        model = timm_zoo.build_timm(within)
    if within:
        carried = None if model is None else carried_preprocessing(model)
        return carried or Preprocessing(origin="ImageNet's usual one, since the model carries none")
    _require_known(name)
    return zoo.preprocessing_preset(name, None if weights is None else str(weights))


def class_names_of(name: str, model: nn.Module) -> ClassNames | None:
    """The classes that a model's library publishes for it or that it carries, if the model has as many; else None."""
    library, _, within = name.partition(":")
    if within:
        return carried_classes(model) or (timm_zoo.imagenet_names(model) if library == "timm" else None)
    if not zoo.knows(name):
        return None
    categories = zoo.member_of(name, None).meta.get("categories", [])
    heads = [m for m in model.modules() if isinstance(m, (nn.Linear, nn.Conv2d))]
    last = heads[-1]
    size = last.out_features if isinstance(last, nn.Linear) else last.out_channels
    return ClassNames(dict(enumerate(categories))) if size == len(categories) else None


def _with_file(model: nn.Module, weights: str | Path | None) -> nn.Module:
    if weights is not None:
        load_strictly(model, read_state_dict(Path(weights), model), f"'{weights}'")
    return model.eval()


def _built(build: Callable[[str | None, int | None], nn.Module], weights: str | Path | None) -> nn.Module:
    """An architecture with published weights, or those of a file, which may have another number of classes."""
    if weights is None or not Path(weights).is_file():
        return build(None if weights is None else str(weights), None).eval()
    model = build(None, None)
    state = read_state_dict(Path(weights), model)
    classes = head_size(model, state)
    if classes is not None:
        model = build(None, classes)
    load_strictly(model, state, f"'{weights}'")
    return model.eval()


def _torchvision_model(name: str, weights: str | None, classes: int | None) -> nn.Module:
    if weights is None:
        return zoo.build(name, classes)
    model, state = zoo.build(name), zoo.download(name, weights)
    if (size := head_size(model, state)) is not None:
        model = zoo.build(name, num_classes=size)
    load_strictly(model, state, weights)
    return model


def _require_known(name: str) -> None:
    if not zoo.knows(name):
        nearest = ", ".join(zoo.suggest_names(name)) or "none comes near; see torchvision.models.list_models()"
        message = (
            "Expected `--model` to be one of torchvision's classifiers, `timm:NAME`, `hf:NAME` or "
            f"`package.module:callable`, got {name!r}. Nearest: {nearest}."
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
        named = getattr(module, attribute)
        if isinstance(named, nn.Module):
            return named
        try:
            model = named()
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
    folder = str(Path.cwd())
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        sys.path.remove(folder)
