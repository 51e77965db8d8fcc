"""How images are explained."""

from __future__ import annotations

import os
from dataclasses import dataclass

import torch

from captum_paramsal.errors import ParamsalError
from captum_paramsal.profiles import LayerSelection
from captum_paramsal.report.explain.score_scale import SCORE_SCALES, SaliencyMethod
from captum_paramsal.stats import TailMethod


@dataclass(frozen=True)
class ExplainSettings:
    """What belongs to an explanation, apart from model, images and reference.

    Attributes:
        method: ``"parameter"`` for ``ParameterSaliency``, in standard deviations of the reference; ``"pot"`` for
            ``POTSaliency``, in nats, with p-values and a check of them.
        fit: How ``POTSaliency`` fits its tails.
        top_k: Filters that are named per mistake; if None ten, or all where there are fewer.
        layers: Layers to score; those of the reference, or the default layers, if None.
        cards: Mistakes that get a picture and a profile in the report, the most confident first; all are in the data.
        pixels: Trace the guilty filters of the mistakes with a card back to pixels (``InputSpaceSaliency``), which
            takes about five training steps for each.
        keep_pixels: Keep these pixel gradients themselves; 4 bytes for each number of each image.
        traces: Follow the scores of the true and of the predicted class of these mistakes back to pixels
            (``DiscernibleNeurons``), which takes about two training steps for each. Where a model cannot be traced,
            the report says so.
        paths: Of the mistakes with a card, the most confident first, so many show the way of the evidence for the
            predicted class through the guiltiest filter that its trace passes, which takes about one training step for
            each; 0 for none, and none without `traces`.
        exemplars: Images that are kept of each filter where the reference is taken on these very images, those in which
            it is most active, to show what the usual suspects look for; 0 for none. A given reference has its own.
        batch_size: Images per forward and backward pass; bounds memory, not the result.
        device: Where to compute; where the model is, if None.
        show_progress: Show progress bars.
        checkpoint: Folder that reference and scores are kept in, batch by batch: started again after an interruption,
            with as many processes, the explanation takes them from there. It stays; None keeps nothing.
    """

    method: SaliencyMethod = "parameter"
    fit: TailMethod = "mle"
    top_k: int | None = None
    layers: LayerSelection | None = None
    cards: int = 300
    pixels: bool = True
    keep_pixels: bool = False
    traces: bool = True
    paths: int = 50
    exemplars: int = 9
    batch_size: int = 32
    device: str | torch.device | None = None
    show_progress: bool = True
    checkpoint: str | os.PathLike[str] | None = None

    def __post_init__(self) -> None:
        for name, known in (("method", tuple(SCORE_SCALES)), ("fit", ("mle", "exponential"))):
            value = getattr(self, name)
            if value not in known:
                message = f"Expected `{name}` to be one of {', '.join(map(repr, known))}, got {value!r}."
                raise ParamsalError(message)
        for name in ("top_k", "batch_size"):
            size = getattr(self, name)
            if size is not None and size < 1:
                message = f"Expected `{name}` to be at least 1, got {size}."
                raise ParamsalError(message)
        for name in ("paths", "exemplars"):
            if getattr(self, name) < 0:
                message = f"Expected `{name}` to be at least 0, got {getattr(self, name)}."
                raise ParamsalError(message)
