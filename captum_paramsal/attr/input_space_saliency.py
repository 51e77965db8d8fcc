"""Input-space saliency (Levin et al., 2021): which pixels drive the most salient filters."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from typing import Any

from captum.attr import GradientAttribution
from captum.log import log_usage
from torch import Tensor

from captum_paramsal.attr.filter_attribution import FilterAttribution
from captum_paramsal.batch import Inputs, as_given
from captum_paramsal.errors import InputError, LayerError, ParamsalError
from captum_paramsal.filters import FilterIndex
from captum_paramsal.functional import Target, boosted_similarity
from captum_paramsal.summary import Summarized

_TOP_K = 10
"""Filters that are boosted where nobody says how many, as in the paper."""


class InputSpaceSaliency(Summarized, GradientAttribution):  # type: ignore[misc] # Captum is not typed strictly
    """Pixels whose change would make an image's most salient filters stand out more.

    The gradient with respect to the image of ``cos(ŝ(x), b)``, which is
    :func:`~captum_paramsal.functional.boosted_similarity` (section 3.3): ŝ are the scores of ``saliency``, and b is a
    copy of them, kept fixed, in which the ``top_k`` highest are multiplied by ``boost``. Taken by a double backward
    pass, for each image of a batch by itself. Filters that never varied over the reference set have no score and are
    left out.

    Args:
        saliency: A method that scores filters: :class:`~captum_paramsal.ParameterSaliency`,
            :class:`~captum_paramsal.POTSaliency`, or your own :class:`~captum_paramsal.FilterAttribution`.
        top_k: Filters that are boosted, at most the number of filters; if None ten, or all where there are fewer.
        boost: What their scores are multiplied by.

    Raises:
        InputError: ``saliency`` does not score filters.
        ParamsalError: ``top_k`` is not from 1 to the number of filters, or ``boost`` is not above 0.

    References:
        Levin et al., *Where do Models go Wrong?*, arXiv 2108.01335, section 3.3.

    >>> import torch
    >>> from torch import nn
    >>> from captum_paramsal import ParameterSaliency
    >>> _ = torch.manual_seed(0)
    >>> model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    >>> pixels = InputSpaceSaliency(ParameterSaliency(model), top_k=2)
    >>> pixels.attribute(torch.rand(5, 3, 8, 8), target=1).shape
    torch.Size([5, 3, 8, 8])
    """

    def __init__(self, saliency: FilterAttribution, top_k: int | None = None, boost: float = 100.0) -> None:
        if not isinstance(saliency, FilterAttribution):
            message = (
                "Expected `saliency` to be a method that scores filters, such as ParameterSaliency or POTSaliency, "
                f"got {type(saliency).__name__}."
            )
            raise InputError(message)
        super().__init__(saliency.model)
        # Which filters there are may be known only once the model has run.
        fewest = saliency.profiler.fewest
        whole = isinstance(top_k, int) and top_k >= 1
        if top_k is not None and (not whole or (top_k > fewest and top_k > _filters_of(saliency, top_k))):
            raise ParamsalError(_no_such_top(top_k, _filters_of(saliency, len(saliency.profiler.candidates))))
        if not isinstance(boost, (int, float)) or not 0 < boost < inf:
            message = f"Expected `boost` to be a positive number, got {boost!r}."
            raise ParamsalError(message)
        self.saliency = saliency
        self._top_k = top_k
        self.boost = boost

    def _facts(self) -> Mapping[str, Any]:
        top = f"{_TOP_K} at most" if self._top_k is None else self._top_k
        return {
            "model": type(self.saliency.model).__name__,
            "saliency": type(self.saliency).__name__,
            "top_k": top,
            "boost": self.boost,
        }

    @property
    def top_k(self) -> int:
        """Filters that are boosted; of a network that has not run yet, at most."""
        if self._top_k is not None:
            return self._top_k
        return min(_TOP_K, _filters_of(self.saliency, len(self.saliency.profiler.candidates)))

    @property
    def filters(self) -> FilterIndex:
        """The filters behind the scores."""
        return self.saliency.filters

    @property
    def multiplies_by_inputs(self) -> bool:
        """Always False: the map is a gradient."""
        return False

    @log_usage()  # type: ignore[untyped-decorator]
    def attribute(
        self,
        inputs: Inputs,
        target: Target = None,
        additional_forward_args: Any = None,
        internal_batch_size: int | None = None,
        show_progress: bool = False,  # noqa: FBT001, FBT002 -- Captum's signature
    ) -> Any:
        """Signed gradient map of every image.

        Args:
            inputs: Images, ``(N, C, H, W)``, or a tuple or dict of what the model takes, N examples each; floating
                point.
            target: Class whose loss is explained, the true one for a mistake; every kind of target that Captum takes,
                None for the model's prediction.
            additional_forward_args: Further arguments of the model; tensors with N rows go with their images.
            internal_batch_size: Images per pass; bounds memory, not the result.
            show_progress: Show a progress bar over these passes.

        Returns:
            The shape of ``inputs``, in units of cosine similarity per unit of the input; positive where a larger value
            makes the top filters stand out more. All zero for an image in which no filter but these has a score.
            :func:`captum_paramsal.viz.display_map` makes the papers' picture of it.

        Raises:
            TargetError: ``target`` does not name one class per image.
            InputError: An empty batch, a shape that the model cannot take, inputs that have no gradient, inputs, losses
                or gradients that are not finite.
            LayerError: A layer that was asked for is never reached in the forward pass.
        """
        gradients = self.saliency.profiler.input_gradients(
            self._similarity,
            inputs,
            target,
            additional_forward_args,
            internal_batch_size,
            show_progress=show_progress,
        )
        return as_given(inputs, gradients)

    def _similarity(self, profile: Tensor) -> Tensor:
        if self._top_k is not None and self._top_k > profile.shape[1]:
            raise ParamsalError(_no_such_top(self._top_k, profile.shape[1]))
        scores = self.saliency.score(profile)
        reference = self.saliency.reference
        # A filter that never varied has the lowest score by convention, not by its gradient: it would turn the cosine.
        # The host knows which ones have a score: a mask on a GPU would make it wait.
        if reference is not None and bool(reference.dead.any()):
            scores = scores.index_select(1, (~reference.dead).nonzero()[:, 0].to(scores.device))
        return boosted_similarity(scores, min(self.top_k, scores.shape[1]), self.boost)


def _filters_of(saliency: FilterAttribution, unknown: int) -> int:
    """Filters that are scored; `unknown` where a run has to tell."""
    try:
        return len(saliency.filters)
    except LayerError:
        return unknown


def _no_such_top(top_k: object, filters: int) -> str:
    return f"Expected `top_k` to be a whole number from 1 to {filters}, the number of filters, got {top_k!r}."
