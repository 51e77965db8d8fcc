"""Comparisons that take a moment, and what is asked of their values."""

from importlib.util import find_spec

import pytest
import torch
from metrics.small_cases import small_model, some_images

from captum_paramsal.comparison import PRESETS, compare
from captum_paramsal.metrics import Infidelity, Sensitivity

QUICK = (Infidelity(samples=3), Sensitivity(samples=2))
COST = ("seconds", "peak memory")


def small_run(methods=None, images=None, targets=None, **options):
    """Two presets on a small net and three images, unless told otherwise."""
    images = some_images()[0] if images is None else images
    options = {"metrics": QUICK, "show_progress": False, **options}
    return compare(methods or ["saliency", "grad_cam"], options.pop("model", small_model()), images, targets, **options)


def same(one, other, *, but=COST):
    """Whether two comparisons agree in all but some columns, NaN being equal to NaN."""
    judged = [i for i, column in enumerate(one.columns) if column.name not in but]
    return (
        (one.methods, one.columns, one.failures, one.kept, one.context)
        == (other.methods, other.columns, other.failures, other.kept, other.context)
        and _equal(one.scores[:, judged], other.scores[:, judged])
        and all(
            _equal(getattr(one, name), getattr(other, name))
            for name in ("degenerate", "targets", "predicted", "agreements")
        )
        and all(map(_equal, one.pictures, other.pictures))
        and all(map(_equal, one.maps, other.maps))
    )


def _equal(one, other):
    return one.shape == other.shape and torch.allclose(one.double(), other.double(), rtol=0, atol=0, equal_nan=True)


OF_TRANSFORMERS = ("attention_rollout", "gradient_x_attention")
LIBRARIES = {"lrp": "zennit", "segments": "skimage"}
"""Presets that need a library which may not be installed."""

OF_CONVOLUTIONS = [name for name in PRESETS if name not in OF_TRANSFORMERS]
INSTALLED = [name for name in OF_CONVOLUTIONS if name not in LIBRARIES or find_spec(LIBRARIES[name])]


def with_library(name):
    """A preset's name as a case, skipped where its library is not installed."""
    library = LIBRARIES.get(name)
    lacking = library is not None and find_spec(library) is None
    return pytest.param(name, marks=pytest.mark.skipif(lacking, reason=f"{library} is not installed"))
