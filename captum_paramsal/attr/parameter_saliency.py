"""Parameter saliency (Levin et al., 2021): which filters made the mistake."""

from __future__ import annotations

from typing import Any

from captum.attr import Attribution
from captum.log import log_usage
from torch import Tensor, nn

from captum_paramsal.batch import Inputs
from captum_paramsal.errors import ReferenceMismatchError
from captum_paramsal.filters import FilterIndex
from captum_paramsal.functional import Loss, Target, cross_entropy, standardize
from captum_paramsal.layers import LayerSelection
from captum_paramsal.profile import FilterProfile
from captum_paramsal.reference import Reference, loss_name

__all__ = ["ParameterSaliency"]


class ParameterSaliency(Attribution):  # type: ignore[misc] # Captum is not typed strictly
    """Filters whose gradients are large for an image, or unusually large beside a reference set.

    For image n and filter j the raw profile is ``s[n, j] = mean over the filter's weights of |∂loss / ∂weight|``, the
    loss taken at ``target``. With a reference the scores are ``(s[n, j] - mean[j]) / std[j]``, in standard deviations
    of the reference set.

    Args:
        model: A classifier that returns class scores ``(N, C)``; left as it is.
        reference: Statistics of the reference set; None for the raw profile.
        layers: Layers to score: names, glob patterns, modules or layer types. By default those of the reference, or
            every convolution except one whose channels are the class scores.
        loss: Loss per example, ``(logits (N, C), labels (N,)) -> (N,)``.

    Raises:
        ReferenceMismatchError: The reference was taken on other weights, other layers or another loss.
        LayerError: ``layers`` selects nothing, or the model has no filter layer.

    References:
        Levin, Shu, Borgnia, Huang, Goldblum, Goldstein: *Where do Models go Wrong? Parameter-Space Saliency Maps for
        Explainability*, arXiv 2108.01335, section 3.

    >>> import torch
    >>> _ = torch.manual_seed(0)
    >>> model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    >>> images, labels = torch.rand(8, 3, 6, 6), torch.tensor([0, 1] * 4)
    >>> reference = Reference.fit(model, [(images, labels)], show_progress=False)
    >>> saliency = ParameterSaliency(model, reference)
    >>> scores = saliency.attribute(images[:2], target=labels[:2])
    >>> scores.shape
    torch.Size([2, 4])
    >>> len(saliency.filters.top(scores, k=1))
    2
    """

    def __init__(
        self,
        model: nn.Module,
        reference: Reference | None = None,
        *,
        layers: LayerSelection | None = None,
        loss: Loss = cross_entropy,
    ) -> None:
        super().__init__(model)
        chosen = reference.filters if layers is None and reference is not None else layers
        self.profile = FilterProfile(model, chosen, loss)
        self.reference = reference
        if reference is not None:
            _require_match(reference, self.profile)

    @property
    def model(self) -> nn.Module:
        """The scored model, unwrapped."""
        return self.profile.model

    @property
    def filters(self) -> FilterIndex:
        """What each column of the scores belongs to."""
        return self.profile.filters

    @property
    def multiplies_by_inputs(self) -> bool:
        """Always False, since scores belong to filters and not to inputs."""
        return False

    @log_usage()  # type: ignore[untyped-decorator]
    def attribute(
        self,
        inputs: Inputs,
        target: Target = None,
        additional_forward_args: Any = None,
        internal_batch_size: int | None = None,
        show_progress: bool = False,  # noqa: FBT001, FBT002 -- Captum's signature
    ) -> Tensor | tuple[Tensor, ...]:
        """Score every filter for every image.

        Args:
            inputs: Images, ``(N, C, H, W)``, or a tuple of what the model takes, N examples each.
            target: Class whose loss is explained, the true one for a mistake: an int, a tensor or list of N classes, a
                tuple ``(class, *place)`` or a list of N tuples for outputs ``(N, C, ...)``; None takes the model's
                prediction.
            additional_forward_args: Further arguments of the model; tensors with N rows go with their images.
            internal_batch_size: Images per forward and backward pass; bounds memory, not the result.
            show_progress: Show a progress bar over these passes.

        Returns:
            ``(N, F)`` scores in the order of ``self.filters`` (in a tuple of one if ``inputs`` is a tuple): standard
            deviations of the reference set, or the raw profile, in units of loss per weight, without one. A filter
            that never varied over the reference set scores as low as the image's least salient other filter.

        Raises:
            TargetError: ``target`` does not name one class per image.
            InputError: An empty batch, a shape that the model cannot take, inputs or losses that are not finite.
            LayerError: A layer that was asked for is never reached in the forward pass.
        """
        profile = self.profile(
            inputs, target, additional_forward_args, internal_batch_size, show_progress=show_progress
        )
        scores = profile if self.reference is None else self._standardized(profile, self.reference)
        return (scores,) if isinstance(inputs, tuple) else scores

    def _standardized(self, profile: Tensor, reference: Reference) -> Tensor:
        return standardize(profile, reference.mean.to(profile.device), reference.std.to(profile.device))


def _require_match(reference: Reference, profile: FilterProfile) -> None:
    if reference.filters != profile.filters:
        message = (
            f"Expected `layers` with the filters of the reference, but {reference.filters.difference(profile.filters)}."
        )
        raise ReferenceMismatchError(message)
    if reference.loss_name != loss_name(profile.loss):
        message = f"Expected the loss of the reference, {reference.loss_name!r}, got {loss_name(profile.loss)!r}."
        raise ReferenceMismatchError(message)
    reference.check(profile.model)
