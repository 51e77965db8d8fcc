"""With what an explanation was made."""

from __future__ import annotations

from typing import Any

from captum_paramsal.files import Fingerprint
from captum_paramsal.reference import Reference
from captum_paramsal.report.explain.job import ExplainJob
from captum_paramsal.report.explain.mistakes import Saliency
from captum_paramsal.report.explain.score_scale import FALSE_DISCOVERIES, SCORE_SCALES, UNUSUAL, SaliencyMethod
from captum_paramsal.report.shared.report import About


def describe(
    job: ExplainJob, saliency: Saliency, reference: Reference, *, about: About, fitted_here: bool
) -> dict[str, Any]:
    """Model, method, reference, parameters and versions, as JSON has them."""
    settings = job.settings
    by_method: dict[SaliencyMethod, dict[str, Any]] = {
        "parameter": {"unusual_above": UNUSUAL},
        "pot": {"fit": settings.fit, "false_discovery_rate": FALSE_DISCOVERIES},
    }
    return {
        **about.head(saliency.model, Fingerprint.of(saliency.model)),
        "method": {
            "name": settings.method,
            "unit": SCORE_SCALES[settings.method].unit,
            **by_method[settings.method],
        },
        "reference": {
            "origin": "these images" if fitted_here else about.reference,
            "fitted_on_these_images": fitted_here,
            "images": reference.count,
            "loss": reference.loss_name,
            "dead_filters": int(reference.dead.sum()),
            "fingerprint": reference.fingerprint.short,
        },
        "parameters": {
            "top_k": job.top_k(saliency),
            "batch_size": settings.batch_size,
            "device": str(job.device),
            "layers": None if settings.layers is None else list(saliency.filters.layers),
            "pixels": settings.pixels,
            "traces": settings.traces,
        },
    }
