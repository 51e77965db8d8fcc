"""POT saliency (Wang and Sato, 2023): which filters are improbably salient."""

from __future__ import annotations

from typing import Any

import torch
from scipy.stats import false_discovery_control
from torch import Tensor, nn

from captum_paramsal.attr.filter_attribution import FilterAttribution
from captum_paramsal.batch import Inputs
from captum_paramsal.errors import InputError
from captum_paramsal.functional import Loss, Target, cross_entropy, p_values_of
from captum_paramsal.hooks import Output
from captum_paramsal.profiles import LayerSelection
from captum_paramsal.reference import Reference
from captum_paramsal.stats import MINIMUM_EXCESSES, FilterTails, TailMethod, UpperTail


class POTSaliency(FilterAttribution):
    """Filters whose saliency is improbable under the upper tail that a reference set shows: peaks over threshold.

    Each filter's saliencies above a high threshold t over the reference set are fitted with a generalized Pareto
    distribution of shape ξ and scale σ. The score of image n and filter j is ``-log p`` in nats with
    ``p = (exceedances / N) · (1 + ξ (s[n, j] - t) / σ)^(-1 / ξ)``, and 0 (p = 1) at or below the threshold:
    :func:`~captum_paramsal.functional.tail_scores` (equation 5) of :func:`~captum_paramsal.functional.mean_abs`
    (equation 1). Unlike z-scores, it compares filters whose saliencies are spread differently.

    Beyond the finite end of a tail p is 0: those filters come first, at 745.2 nats and more (or above the image's
    highest finite score), in the order of ``(s - t) / σ``. A filter with no exceedance in the reference set has no tail
    and scores a hair below 0, so it never comes first.

    Args:
        model: A classifier that returns class scores ``(N, C)``; left as it is.
        reference: Statistics of the reference set, with upper tails (``Reference.fit(..., tail=0.10)``).
        fit: ``"mle"`` for maximum likelihood; ``"exponential"`` for ξ = 0 and σ the mean excess, which the ranking
            published with the paper amounts to, since its fit never finds a positive shape.
        layers: Layers to score; by default those of the reference.
        loss: Loss per example, ``(logits (N, C), labels (N,)) -> (N,)``.
        output: What makes class scores ``(N, C)`` of what the model returns, where it returns something else than
            these or ``logits``.
        bias: Take each filter's entry of the layer's bias as one of its weights.

    Attributes:
        tails: Threshold, rate, shape and scale of every filter, with standard errors and goodness of fit.

    Raises:
        InputError: ``reference`` has no tails, or fewer than 20 excesses for every filter.
        ReferenceMismatchError: The reference was taken on other weights, other layers or another loss.

    References:
        Wang, Sato: *Understanding Parameter Saliency via Extreme Value Theory*, arXiv 2310.17951, equations 1, 4 and
        5.

    >>> from captum_paramsal import Reference
    >>> _ = torch.manual_seed(0)
    >>> model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    >>> images, labels = torch.rand(250, 3, 6, 6), torch.arange(250) % 2
    >>> saliency = POTSaliency(model, Reference.fit(model, [(images, labels)], show_progress=False))
    >>> saliency.attribute(images[:2], target=labels[:2]).shape
    torch.Size([2, 4])
    >>> saliency.p_values(images[:2], target=labels[:2]).max() <= 1
    tensor(True)
    """

    def __init__(
        self,
        model: nn.Module,
        reference: Reference,
        *,
        fit: TailMethod = "mle",
        layers: LayerSelection | None = None,
        loss: Loss = cross_entropy,
        output: Output | None = None,
        bias: bool = False,
    ) -> None:
        super().__init__(model, reference, layers=layers, loss=loss, output=output, bias=bias)
        self.tails = FilterTails.fit(_tail_of(reference), fit)
        if int(self.tails.pareto.count.max()) < MINIMUM_EXCESSES:
            raise InputError(_too_few(reference.count, _tail_of(reference), int(self.tails.pareto.count.max())))

    def score(self, profile: Tensor) -> Tensor:
        """-log tail probability of profiles ``(N, F)`` in nats, :func:`~captum_paramsal.functional.tail_scores`."""
        return self.tails.scores(profile)

    def p_values(
        self,
        inputs: Inputs,
        target: Target = None,
        additional_forward_args: Any = None,
        internal_batch_size: int | None = None,
        *,
        show_progress: bool = False,
    ) -> Tensor:
        """Tail probability of every filter for every image.

        Args:
            inputs: As in :meth:`attribute`, like all that follow.
            target: Class whose loss is explained.
            additional_forward_args: Further arguments of the model.
            internal_batch_size: Images per forward and backward pass.
            show_progress: Show a progress bar.

        Returns:
            ``(N, F)`` float64: 1 at or below the threshold, 0 beyond the finite end of a tail.
        """
        scores = self.attribute(inputs, target, additional_forward_args, internal_batch_size, show_progress)
        return p_values_of(scores[0] if isinstance(scores, tuple) else scores)

    def significant(
        self,
        inputs: Inputs,
        target: Target = None,
        additional_forward_args: Any = None,
        internal_batch_size: int | None = None,
        *,
        false_discovery_rate: float = 0.05,
        show_progress: bool = False,
    ) -> Tensor:
        """Filters that are too salient for chance, with the expected share of false ones among them bounded.

        Benjamini and Hochberg's procedure over all filters of an image. Filters at or below their threshold take part
        with p = 1, which errs on the safe side.

        Args:
            inputs: As in :meth:`attribute`, like the next three.
            target: Class whose loss is explained.
            additional_forward_args: Further arguments of the model.
            internal_batch_size: Images per forward and backward pass.
            false_discovery_rate: Bound for the expected share of false ones, in (0, 1).
            show_progress: Show a progress bar.

        Returns:
            ``(N, F)`` bool.

        Raises:
            InputError: ``false_discovery_rate`` is not in (0, 1), or see :meth:`attribute`.

        References:
            Benjamini and Hochberg, *Controlling the false discovery rate* (1995).
        """
        if not 0 < false_discovery_rate < 1:
            message = f"Expected `false_discovery_rate` in (0, 1), got {false_discovery_rate}."
            raise InputError(message)
        p_values = self.p_values(
            inputs, target, additional_forward_args, internal_batch_size, show_progress=show_progress
        )
        adjusted = false_discovery_control(p_values.cpu().numpy(), axis=1, method="bh")
        return torch.from_numpy(adjusted <= false_discovery_rate).to(p_values.device)


def _tail_of(reference: Reference) -> UpperTail:
    if not isinstance(reference, Reference):
        message = f"Expected a Reference with upper tails, got {type(reference).__name__}."
        raise InputError(message)
    if reference.tail is None:
        message = (
            "Expected a reference with upper tails, got one with means and standard deviations alone. Fit it with "
            "`Reference.fit(..., tail=0.10)`."
        )
        raise InputError(message)
    return reference.tail


def _too_few(images: int, tail: UpperTail, excesses: int) -> str:
    needed = int((MINIMUM_EXCESSES + 1) / tail.fraction) + 1
    if images >= needed:
        return (
            f"Expected at least {MINIMUM_EXCESSES} excesses over the threshold of a filter, got at most {excesses} "
            f"from a reference of {images} images with tail={tail.fraction}, which are enough: their saliency hardly "
            "varies, or is 0. Check the model's class scores, and take the reference in float32 or float64."
        )
    return (
        f"Expected at least {MINIMUM_EXCESSES} excesses over the threshold of a filter, got at most {excesses} from a "
        f"reference of {images} images with tail={tail.fraction}. Take {needed} images or more, or a larger tail."
    )
