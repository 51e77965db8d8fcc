"""Forward impact and gradient loss, wrong against right (Sohn, Kang and Yoo, 2023)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from captum_paramsal.batch import Inputs, as_inputs
from captum_paramsal.filters import FilterIndex
from captum_paramsal.functional import Loss, Target, cross_entropy, pareto_score, wrong_against_right
from captum_paramsal.hooks import Output, scored_model, two_class_view
from captum_paramsal.profiles import FilterProfile, LayerSelection
from captum_paramsal.reference.data_batches import LoaderItem
from captum_paramsal.triage import SetScores, pull


class ForwardImpact:
    """Filters that matter for mistakes, for the loss and for what the model says, and do not for correct images.

    Arachne gives every weight two costs. We take them at filters, over a set of images:

    * **gradient loss**: the mean over the filter's weights of ``|mean over images of ∂loss / ∂weight|``;
    * **forward impact**: ``|Σ weight · mean over images of ∂score / ∂weight|``, with the score of the predicted class.
      The paper multiplies a weight's share in its neuron's input with the gradient of the output at the neuron; over
      all weights of a filter shares add up to 1, so we sum contributions instead.

    Each cost of the mistakes is set against that of the correct images by
    :func:`~captum_paramsal.functional.wrong_against_right`, and filters stand in the order of the Pareto fronts of
    both: :func:`~captum_paramsal.functional.pareto_score`. Arachne itself takes the first front only, as a set.

    Args:
        model: A classifier that returns class scores ``(N, C)``; left as it is.
        layers: Layers to score, as of :class:`~captum_paramsal.ParameterSaliency`.
        loss: Loss per example.
        output: What makes class scores ``(N, C)`` of what the model returns, where it returns something else than
            these or ``logits``.

    Raises:
        LayerError: ``layers`` selects nothing, or the model has no filter layer.

    References:
        Sohn, Kang, Yoo: *Arachne: Search Based Repair of Deep Neural Networks*, TOSEM 2023, arXiv 1912.12463.

    >>> _ = torch.manual_seed(0)
    >>> model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    >>> ranking = ForwardImpact(model).rank(torch.rand(5, 3, 8, 8), 1, torch.rand(9, 3, 8, 8), 0)
    >>> ranking.score.sort().values
    tensor([0.2500, 0.5000, 0.7500, 1.0000], dtype=torch.float64)
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        layers: LayerSelection | None = None,
        loss: Loss = cross_entropy,
        output: Output | None = None,
    ) -> None:
        self.profiler = FilterProfile(model, layers, loss, output=output)
        # A loss of one's own gets a single logit as it is, which is the score of one of two classes.
        two_classes = two_class_view(scored_model(model, output))
        self._of_scores = FilterProfile(two_classes, layers, _score_of_label)

    @property
    def filters(self) -> FilterIndex:
        """What each score belongs to."""
        return self.profiler.filters

    def rank(
        self,
        mistakes: Inputs,
        labels: Target,
        correct: Inputs,
        correct_labels: Target,
        *,
        internal_batch_size: int | None = None,
    ) -> SetScores:
        """Score every filter for a set of mistakes.

        Args:
            mistakes: Images that the model gets wrong, ``(N, ...)``.
            labels: Their true classes.
            correct: Images that it gets right.
            correct_labels: Their classes.
            internal_batch_size: Images per pass; bounds memory, not the result.

        Returns:
            From 1 for the most suspicious filter to ``1 / F``.

        Raises:
            InputError, TargetError, LayerError: The images cannot be scored, see
                :meth:`captum_paramsal.ParameterSaliency.attribute`.
        """
        wrong, wrong_count = self._costs(mistakes, labels, internal_batch_size)
        right, right_count = self._costs(correct, correct_labels, internal_batch_size)
        costs = [
            wrong_against_right(of_mistakes, of_correct) for of_mistakes, of_correct in zip(wrong, right, strict=True)
        ]
        return SetScores(self.filters, pareto_score(torch.stack(costs, dim=1)), wrong_count, right_count)

    def _costs(self, images: Inputs, labels: Target, size: int | None) -> tuple[tuple[Tensor, Tensor], int]:
        """Gradient loss and forward impact of every filter, ``(F,)`` float64 each, and how many images there are."""
        inputs = as_inputs(self.profiler.model, images, labels)
        count = len(LoaderItem(inputs))
        together = torch.zeros(count, dtype=torch.int64)
        sums = self.profiler.gradient_sums(together, 1, inputs, labels, None, size)
        losses = [
            sums.vectors[layer.name][0].double().abs().mean(dim=1).cpu() / count
            if layer.name in sums.vectors
            else torch.zeros(layer.count, dtype=torch.float64)
            for layer in self.profiler.layers
        ]
        impact = pull(self._of_scores, self._of_scores.gradient_sums(together, 1, inputs, None, None, size))
        return (torch.cat(losses), impact[0].abs()), count


def _score_of_label(scores: Tensor, labels: Tensor) -> Tensor:
    return scores.gather(1, labels[:, None])[:, 0]
