"""Discernible neurons: a decision traced back through neurons that their neighbours support."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import nn
from tqdm.auto import tqdm

from captum_paramsal.attr.trace_attribution import TraceAttribution
from captum_paramsal.batch import Given
from captum_paramsal.errors import InputError, ParamsalError
from captum_paramsal.functional import Target
from captum_paramsal.graph import TraceSettings, TraceWeights
from captum_paramsal.hooks import Output
from captum_paramsal.metrics import Boxes, boxes_per_image, iou
from captum_paramsal.stats import upper_confidence_bound
from captum_paramsal.traces import WeightSearch
from captum_paramsal.versions import renamed_arguments

GRID = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
"""Values that are tried for a weight."""

_EQUAL = TraceWeights(current=1.0, preceding=1.0, succeeding=1.0)

GOOD_OVERLAP = 0.5
"""Intersection over union above which a traced box counts as a success."""


class DiscernibleNeurons(TraceAttribution):
    """Heat map of the pixels that a class score is traced back to, through the neurons that carried it.

    Before each selected neuron, those with the largest ``Ω = α_suc Z_suc (α_cur Z_cur + α_pre Z_pre)`` are selected by
    :func:`captum_paramsal.graph.selecting.select` (equations 4 and 5): Z_cur is what a candidate contributes to the
    neuron, Z_pre the largest contribution into the candidate (equation 3), and Z_suc the number of selected neurons for
    which it is the strongest. Only neurons with positive values are candidates. No gradient is taken.

    Args:
        model: A convolutional classifier that returns class scores ``(N, C)``; left as it is.
        weights: α of the three supports.
        top_k: Channels kept for each neuron of a convolution.
        linear_top_k: Features kept for each neuron of a linear layer over vectors; None for all with positive Ω.
        places: Places of each channel that the trace starts from below a pool over the whole map: a whole number, or
            a share of the map's places in (0, 1], at least one place. Boxes of traces fit large objects better with
            more, such as 0.3, in about three times the time.
        classes: How many classes the trace starts from, those with the highest softmax (section 3). With more than
            one, no ``target`` is given: the votes are those of all of them together.
        through_maxima: What Z_pre is of a neuron that a maximum pool made: its value, the largest of the window
            (False), or what supports the neuron that this value was taken from (True).
        output: What makes class scores ``(N, C)`` of what the model returns, where it returns something else than
            these or ``logits``.

    Raises:
        ParamsalError: ``top_k``, ``linear_top_k``, ``places`` or ``classes`` is below 1, or a share of places is not
            in (0, 1].

    References:
        Iqbal, Muqeet and Bae, *Visual Interpretation of CNN Prediction Through Layerwise Sequential Selection of
        Discernible Neurons*, IEEE Access 10 (2022), doi 10.1109/ACCESS.2022.3188394.

    >>> import torch
    >>> _ = torch.manual_seed(0)
    >>> model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    >>> neurons = DiscernibleNeurons(model)
    >>> neurons.attribute(torch.rand(5, 3, 8, 8), target=1).shape
    torch.Size([5, 3, 8, 8])
    >>> list(neurons.trace(torch.rand(5, 3, 8, 8), target=1).layers)
    ['output', '4', '0', 'input']
    >>> DiscernibleNeurons(model, classes=2).trace(torch.rand(1, 3, 8, 8)).layers["output"].channel
    tensor([0, 1])
    """

    def __init__(
        self,
        model: nn.Module,
        weights: TraceWeights | None = None,
        *,
        top_k: int = 1,
        linear_top_k: int | None = 10,
        places: float = 0.1,
        classes: int = 1,
        through_maxima: bool = False,
        output: Output | None = None,
    ) -> None:
        if isinstance(places, float) and not 0 < places <= 1:
            message = (
                f"Expected `places` to be a whole number from 1 up, or a share of the map in (0, 1], got {places}."
            )
            raise ParamsalError(message)
        numbers: dict[str, Any] = {"top_k": top_k, "classes": classes}
        numbers["linear_top_k"] = 1 if linear_top_k is None else linear_top_k
        if not isinstance(places, float):
            numbers["places"] = places
        for name, number in numbers.items():
            if not isinstance(number, int) or number < 1:
                message = f"Expected `{name}` to be a whole number from 1 up, got {number!r}."
                raise ParamsalError(message)
        self.weights = TraceWeights() if weights is None else weights
        settings = TraceSettings(
            weights=self.weights,
            top_k=top_k,
            linear_top_k=linear_top_k,
            places=places,
            active_only=True,
            single_place=False,
            classes=classes,
            through_maxima=through_maxima,
        )
        super().__init__(model, settings, output=output)

    @renamed_arguments(targets="labels")
    def fit_weights(
        self,
        images: Given,
        labels: Target,
        boxes: Boxes,
        *,
        grid: Sequence[float] = GRID,
        trials: int = 1000,
        seed: int = 0,
        show_progress: bool = True,
    ) -> WeightSearch:
        """Learn the weights: which values lead to boxes that overlap the object.

        A bandit (UCB1) for each of ``current`` and ``preceding`` over the grid, the other two held at 1: one image per
        trial, reward 1 where the intersection over union of the traced box with a box of the object is above 0.5. The
        default of ``preceding`` is not 1 but 0.1, so compare what was learned with both.
        ``succeeding`` stays 1, since it multiplies all candidates by the same and cannot change what is selected.

        Args:
            images: ``(N, C, H, W)``.
            labels: Class that each is traced for, whatever ``classes`` is.
            boxes: Boxes of the object in each image, ``(N, 4)`` or N tensors ``(B, 4)``.
            grid: Values that are tried.
            trials: Trials for each weight; the images are taken in a random order, again from the start after the last.
            seed: Of that order.
            show_progress: Show a progress bar.

        Returns:
            The weights, for ``DiscernibleNeurons(model, search.weights)``, and the history of the search. This object
            keeps its own.

        Raises:
            InputError, TargetError, TraceError: See :meth:`attribute`; there is not one set of boxes per image, or
                ``images`` are volumes or sequences.
            ParamsalError: ``grid`` is empty or has values below 0, or there are fewer ``trials`` than values.
        """
        values = tuple(float(value) for value in grid)
        if not values or trials < len(values):
            message = f"Expected a grid of values and at least one trial for each, got {values} and {trials} trials."
            raise ParamsalError(message)
        batch = self._given(images, labels, None)
        if batch.inputs[0].ndim != 4:
            message = f"Expected images (N, C, H, W), in which boxes are known, got {batch.shapes}."
            raise InputError(message)
        known = boxes_per_image(boxes, len(batch))
        order = torch.randperm(len(batch), generator=torch.Generator().manual_seed(seed)).tolist()
        history = {}
        with tqdm(total=2 * trials, desc="weights", disable=not show_progress) as bar:
            for name in ("current", "preceding"):

                def reward(value: float, trial: int, name: str = name) -> float:
                    image = order[trial % len(order)]
                    neurons = self._with(replace(_EQUAL, **{name: value}))
                    traced = neurons._trace(batch.part(image, 1), None, shown=False).boxes()  # noqa: SLF001
                    bar.update()
                    return float(iou(traced, [known[image]]) > GOOD_OVERLAP)

                history[name] = upper_confidence_bound(values, reward, trials)
        best = {name: run.best for name, run in history.items()}
        return WeightSearch(replace(_EQUAL, **best), history)

    def _with(self, weights: TraceWeights) -> DiscernibleNeurons:
        """The same with other weights."""
        kept = self.settings
        return DiscernibleNeurons(
            self.model,
            weights,
            top_k=kept.top_k,
            linear_top_k=kept.linear_top_k,
            places=kept.places,
            through_maxima=kept.through_maxima,
        )
