"""With what an explanation was made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from captum_paramsal.files import Fingerprint
from captum_paramsal.reference import Reference
from captum_paramsal.report.explain.mistakes import Saliency
from captum_paramsal.report.explain.score_scale import FALSE_DISCOVERIES, SCORE_SCALES, UNUSUAL, Method
from captum_paramsal.report.shared.report import About


def describe(
    saliency: Saliency,
    reference: Reference,
    *,
    method: Method,
    fit: str,
    about: About,
    options: Mapping[str, Any],
    fitted_here: bool,
) -> dict[str, Any]:
    """Model, method, reference, parameters and versions, as JSON has them."""
    by_method: dict[Method, dict[str, Any]] = {
        "parameter": {"unusual_above": UNUSUAL},
        "pot": {"fit": fit, "false_discovery_rate": FALSE_DISCOVERIES},
    }
    return {
        **about.head(saliency.model, Fingerprint.of(saliency.model)),
        "method": {"name": method, "unit": SCORE_SCALES[method].unit, **by_method[method]},
        "reference": {
            "origin": "these images" if fitted_here else about.reference,
            "fitted_on_these_images": fitted_here,
            "images": reference.count,
            "loss": reference.loss_name,
            "dead_filters": int(reference.dead.sum()),
            "fingerprint": reference.fingerprint.short,
        },
        "parameters": dict(options),
    }
