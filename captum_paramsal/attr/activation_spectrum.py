"""Activation spectra (Eniser, Gerasimou and Sen, 2019): which filters do mistakes hit, and correct images not?"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from captum_paramsal.batch import Inputs, forward_scores
from captum_paramsal.filters import FilterIndex
from captum_paramsal.functional import Suspiciousness, ochiai
from captum_paramsal.hooks import Output, channel_means, frozen_eval
from captum_paramsal.profiles import FilterProfile, LayerSelection
from captum_paramsal.triage import SetScores


class ActivationSpectrum:
    """Filters that mistakes activate, and correct images do not.

    An image hits a filter where what the filter returns, on average over places and before what follows its layer, is
    above its mean over the correct images. From how many mistakes and how many correct images hit it, a measure of
    fault localisation makes the score: :func:`~captum_paramsal.functional.ochiai` and others. DeepFault compares a
    neuron's activation with a fixed threshold instead; a channel's mean has no natural one.

    Args:
        model: A classifier that returns class scores ``(N, C)``; left as it is.
        layers: Layers to score, convolutions and Linear layers, as of :class:`~captum_paramsal.ParameterSaliency`.
        measure: :func:`~captum_paramsal.functional.ochiai`, :func:`~captum_paramsal.functional.tarantula` or
            :func:`~captum_paramsal.functional.d_star`.
        output: What makes class scores ``(N, C)`` of what the model returns, where it returns something else than
            these or ``logits``.

    Raises:
        LayerError: ``layers`` selects nothing, or the model has no filter layer.

    References:
        Eniser, Gerasimou, Sen: *DeepFault: Fault Localization for Deep Neural Networks*, FASE 2019, arXiv 1902.05974.

    >>> _ = torch.manual_seed(0)
    >>> model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    >>> spectrum = ActivationSpectrum(model)
    >>> len(spectrum.rank(torch.rand(5, 3, 8, 8), torch.rand(9, 3, 8, 8)).top(2))
    2
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        layers: LayerSelection | None = None,
        measure: Suspiciousness = ochiai,
        output: Output | None = None,
    ) -> None:
        self.profiler = FilterProfile(model, layers, output=output)
        self.measure = measure

    @property
    def filters(self) -> FilterIndex:
        """What each score belongs to."""
        return self.profiler.filters

    def rank(self, mistakes: Inputs, correct: Inputs, internal_batch_size: int | None = None) -> SetScores:
        """Score every filter for a set of mistakes.

        Args:
            mistakes: Images that the model gets wrong, ``(N, ...)``.
            correct: Images that it gets right, such as others of the same classes.
            internal_batch_size: Images per forward pass; bounds memory, not the result.

        Raises:
            InputError: An empty set, or images that the model cannot take.
            LayerError: A layer does not return a channel for each filter, or does not run.
        """
        usual = self._means(correct, internal_batch_size)
        found = self._means(mistakes, internal_batch_size)
        threshold = usual.mean(dim=0)
        hit_mistakes, hit_correct = ((means > threshold).double().sum(dim=0) for means in (found, usual))
        score = self.measure(hit_mistakes, hit_correct, len(found), len(usual))
        return SetScores(self.filters, score, len(found), len(usual))

    def _means(self, images: Inputs, size: int | None) -> Tensor:
        parts = self.profiler.parts(images, None, None, size)
        rows = []
        watched = channel_means(self.profiler.layers, self.profiler.example_dimensions)
        with frozen_eval(self.profiler.model, gradients=False), watched as means:
            for part in parts:
                means.count = len(part)
                forward_scores(self.profiler.model, part)
                rows.append(means.take())
        return torch.cat(rows)
