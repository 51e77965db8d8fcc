"""Image classifiers in Hugging Face's format: a folder that transformers wrote, or a name on the hub."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

from torch import nn

from captum_paramsal.errors import SourceError
from captum_paramsal.sources.preprocessing import Preprocessing, Resize

_RESAMPLING = ("nearest", "lanczos", "bilinear", "bicubic", "box", "hamming")
"""Pillow's numbers for ways to resize, as processors save them."""

_REMEDY = "Give --image-size, --resize, --mean and --std."


def transformers() -> ModuleType:
    """The package ``transformers``, imported only when it is first needed.

    Raises:
        SourceError: It is not installed, or does not fit the installed torch.
    """
    try:
        import transformers  # noqa: PLC0415
    except (ImportError, RuntimeError, OSError, AttributeError) as error:
        message = (
            f"Expected transformers for a model `hf:NAME`, got {type(error).__name__}: {error}. Install it: "
            '`pip install "captum-paramsal[hf]"`.'
        )
        raise SourceError(message) from error
    module: ModuleType = transformers
    return module


def pretrained(name: str) -> nn.Module:
    """A classifier with its weights.

    Args:
        name: A folder that ``save_pretrained`` wrote, or a name on the hub.

    Raises:
        SourceError: No such model, no image classifier, or weights that lack some of its tensors.
    """
    classifier = transformers().AutoModelForImageClassification
    try:
        model, loaded = classifier.from_pretrained(name, output_loading_info=True, trust_remote_code=False)
    except Exception as error:  # reading, fetching and fitting weights raise nearly anything
        raise _not_there(name, error) from error
    # Left to itself it would fill what is missing with random numbers.
    missing = [*sorted(loaded["missing_keys"]), *sorted(map(str, loaded["mismatched_keys"]))]
    if missing:
        message = (
            f"Expected weights of the whole classifier in {name!r}, got a file without {len(missing)} of its tensors: "
            f"{', '.join(missing[:3])}. It may be that of a backbone alone."
        )
        raise SourceError(message)
    built: nn.Module = model
    return built


def untrained(name: str) -> nn.Module:
    """The architecture alone, for weights from elsewhere.

    Raises:
        SourceError: No such model, or no image classifier.
    """
    library = transformers()
    try:
        config = library.AutoConfig.from_pretrained(name, trust_remote_code=False)
        model: nn.Module = library.AutoModelForImageClassification.from_config(config)
    except Exception as error:  # whatever reading and building raise
        raise _not_there(name, error) from error
    return model


def preprocessing_from(name: str) -> Preprocessing:
    """The preparation of a photo as the image processor beside a model has it.

    Raises:
        SourceError: There is no processor, or it does what cannot be done here.
    """
    try:
        processor = transformers().AutoImageProcessor.from_pretrained(name, trust_remote_code=False)
    except Exception as error:  # whatever reading raises
        message = (
            f"Expected an image processor beside the model {name!r} (preprocessor_config.json), got "
            f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''} Save the processor in the "
            f"folder too. {_REMEDY}"
        )
        raise SourceError(message) from error
    return _preprocessing(processor.to_dict(), type(processor).__name__)


def _preprocessing(settings: Mapping[str, Any], kind: str) -> Preprocessing:
    image_size, short_side, resize = _geometry(settings, kind)
    mean, std = _normalization(settings)
    number = int(settings.get("resample", 2) or 0)
    return Preprocessing(
        image_size=image_size,
        short_side=short_side,
        resize=resize,
        mean=mean,
        std=std,
        interpolation=_RESAMPLING[number],
        cut="before",
        origin=f"its {kind}",
    )


def _geometry(settings: Mapping[str, Any], kind: str) -> tuple[int, int, Resize]:
    """Side of the square that the model gets, side before it is cut out, and how the photo gets there."""
    size, crop = settings.get("size") or {}, settings.get("crop_size") or {}
    edge, sides = size.get("shortest_edge"), (size.get("height"), size.get("width"))
    cuts = bool(settings.get("do_center_crop"))
    known = bool(settings.get("do_resize")) and "longest_edge" not in size
    if known and kind.startswith("ConvNext") and edge:
        # Small squares are cut out of the middle, large ones hold the whole photo.
        return (edge, int(edge / settings["crop_pct"]), "crop") if edge < 384 else (edge, edge, "squash")
    if known and settings.get("crop_pct") is None and (not cuts or crop.get("height") == crop.get("width")):
        if edge and cuts and crop["height"] <= edge:
            return crop["height"], edge, "crop"
        if sides[0] and sides[0] == sides[1] and not cuts:
            return sides[0], sides[0], "squash"
        if sides[0] and sides[0] == sides[1] and crop["height"] <= sides[0]:
            return crop["height"], sides[0], "squash, crop"
    message = f"Expected an image processor that makes squares, got {kind} with size {size} and crop {crop}. {_REMEDY}"
    raise SourceError(message)


def _normalization(settings: Mapping[str, Any]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation for pixels in [0, 1], whatever the processor scales them to."""
    scale = 255.0 * (settings["rescale_factor"] if settings.get("do_rescale") else 1.0)
    offset = 1.0 if settings.get("rescale_offset") else 0.0
    pair = (settings["image_mean"], settings["image_std"]) if settings.get("do_normalize") else (0.0, 1.0)
    means, stds = (value if isinstance(value, Sequence) else [value] for value in pair)
    mean = tuple(float(f"{(value + offset) / scale:.9g}") for value in means)
    # EfficientNet's processor divides twice.
    twice = bool(settings.get("include_top"))
    std = tuple(float(f"{value * (value if twice else 1.0) / scale:.9g}") for value in stds)
    return (mean * 3, std * 3) if len(mean) == 1 else (mean, std)


def _not_there(name: str, error: Exception) -> SourceError:
    reason = str(error).splitlines()[0] if str(error) else ""
    return SourceError(
        f"Expected `hf:NAME` with a folder that `save_pretrained` wrote, or a name on Hugging Face's hub, of an image "
        f"classifier, got {name!r}: {type(error).__name__}: {reason}"
    )
