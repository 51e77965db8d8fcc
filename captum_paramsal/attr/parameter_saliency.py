"""Parameter saliency (Levin et al., 2021): which filters made the mistake."""

from __future__ import annotations

from torch import Tensor

from captum_paramsal.attr.filter_attribution import FilterAttribution
from captum_paramsal.functional import detached, standardize


class ParameterSaliency(FilterAttribution):
    """Filters whose gradients are large for an image, or unusually large compared with a reference set.

    For image n and filter j the raw profile is ``s[n, j] = mean over the filter's weights of |∂loss / ∂weight|``, the
    loss taken at ``target``: :func:`~captum_paramsal.functional.mean_abs` (section 3; equation 1 of Wang and Sato).
    With a reference the scores are ``(s[n, j] - mean[j]) / std[j]``, in standard deviations of the reference set:
    :func:`~captum_paramsal.functional.standardize` (section 3.1). Without one they are the raw profile, in units of
    loss per weight. A filter that never varied over the reference set scores as low as the image's least salient other
    filter.

    Args:
        model: A classifier that returns class scores ``(N, C)``; left as it is.
        reference: Statistics of the reference set; None for the raw profile.
        layers: Layers to score: names, glob patterns, modules or layer types, ``...`` among them for the default. By
            default those of the reference, or every convolution, attention's projections by head and every Linear layer
            at places or tokens, but none whose channels are the class scores.
        loss: Loss per example, ``(logits (N, C), labels (N,)) -> (N,)``.
        output: What makes class scores ``(N, C)`` of what the model returns, where it returns something else than
            these or ``logits``.
        bias: Take each filter's entry of the layer's bias as one of its weights.

    Raises:
        ReferenceMismatchError: The reference was taken on other weights, other layers or another loss.
        LayerError: ``layers`` selects nothing, or the model has no filter layer.

    References:
        Levin, Shu, Borgnia, Huang, Goldblum, Goldstein: *Where do Models go Wrong? Parameter-Space Saliency Maps for
        Explainability*, arXiv 2108.01335, section 3. Wang, Sato: *Understanding Parameter Saliency via Extreme Value
        Theory*, arXiv 2310.17951, equation 1.

    >>> import torch
    >>> from torch import nn
    >>> from captum_paramsal import Reference
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

    def score(self, profile: Tensor) -> Tensor:
        """Standard deviations from the reference's mean ``(N, F)``, or the profile itself without a reference."""
        if self.reference is None:
            return profile
        mean, std = (detached(value).to(profile.device) for value in (self.reference.mean, self.reference.std))
        return standardize(profile, mean, std)
