"""Whether the step that one mistake asks for cures other mistakes too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from captum_paramsal.batch import Given, ModelInputs
from captum_paramsal.errors import InputError
from captum_paramsal.files.kinds import STEP_TRANSFER
from captum_paramsal.files.tensor_file import TensorFile
from captum_paramsal.filters import FilterIndex
from captum_paramsal.functional import Loss, Target, cross_entropy, target_of, tensor_of
from captum_paramsal.hooks import Output, scored_model
from captum_paramsal.reference import ProcessGroup
from captum_paramsal.repair.interventions.checks import class_scores, label_rows, require_mistakes, top_filters
from captum_paramsal.repair.interventions.editing import fine_tune_step
from captum_paramsal.repair.interventions.saved_tensors import SavedTensors
from captum_paramsal.stats import table_of_means


@dataclass(frozen=True, eq=False, repr=False)
class StepTransfer(SavedTensors):
    """Q steps, each of one mistake, tried on that mistake and on M others.

    Attributes:
        others: Places of the others among the images, ``(Q, M)`` int64.
        own: Whether the step corrects the mistake that asked for it, ``(Q,)`` bool.
        corrected: Whether it corrects each of the others, ``(Q, M)`` bool.
        before: Probability of each other's true class without the step, ``(Q, M)`` float64.
        after: The same with the step.
    """

    _kind: ClassVar[TensorFile] = STEP_TRANSFER

    others: Tensor
    own: Tensor
    corrected: Tensor
    before: Tensor
    after: Tensor

    @property
    def change_of_true(self) -> Tensor:
        """Change of the probability of each other's true class, ``(Q, M)``."""
        return self.after - self.before

    def to_table(self, seed: int = 0) -> list[dict[str, Any]]:
        """Mean of each measure over the steps, with its 95 % bootstrap interval.

        Args:
            seed: Fixes the resampling.
        """
        rows = {
            "mistakes cured by their own step": self.own.double(),
            "others cured": self.corrected.double().mean(dim=1),
            "change of the others' true class": self.change_of_true.mean(dim=1),
        }
        return table_of_means(rows, seed, steps=len(self.own))


def step_transfer(
    model: nn.Module,
    images: Given,
    labels: Target,
    ranking: Given,
    filters: FilterIndex,
    *,
    others: Given,
    query: Sequence[int] | Tensor | None = None,
    k: int = 25,
    learning_rate: float = 0.001,
    loss: Loss = cross_entropy,
    bias: bool = False,
    batch_norm: bool = False,
    show_progress: bool = True,
    output: Output | None = None,
    group: ProcessGroup | None = None,
) -> StepTransfer:
    """Fine-tune the first filters of each mistake for a step, and look at other mistakes with the model that results.

    Mistakes that the same filters make should be cured together: give the nearest neighbours of each as its ``others``,
    and as many random ones to compare with.

    Args:
        model: A classifier that returns class scores ``(N, C)``; left as it is.
        images: Mistakes, ``(N, ...)``.
        labels: Their true classes, ``(N,)``.
        ranking: A score for every filter and step, ``(Q, F)``, the highest first; ``(F,)`` for one that all share.
        filters: Which filter each score belongs to.
        others: Places of the images that each step is tried on, ``(Q, M)``, such as
            ``neighbors(scores, range(len(images)), k=10).images``.
        query: Places of the Q images whose steps are tried; by default all of them, ``range(N)``.
        k: Filters that take the step.
        learning_rate: Length of the step.
        loss: Loss per example.
        bias: Move biases too.
        batch_norm: Move the batch norms after them too.
        show_progress: Show a progress bar.
        output: What makes class scores ``(N, C)`` of what the model returns, where it returns something else than
            these or ``logits``.
        group: Processes that share the steps, such as :meth:`captum_paramsal.reference.ProcessGroup.current`; all give
            the same arguments, and get the same result. This one alone by default.

    Raises:
        InterventionError: ``filters`` are of another model, ``k`` is above their number, an image is no mistake, or
            ``learning_rate`` is not above 0.
        InputError: ``ranking`` has another shape or NaN, ``others`` or ``query`` are no places of images, or the images
            cannot be scored.

    References:
        Levin et al., *Where do Models go Wrong?*, arXiv 2108.01335, figure 6.
    """
    model = scored_model(model, output)
    batch = ModelInputs.of(images, labels, model=model)
    (examples,) = batch.inputs
    before, true = class_scores(model, batch)
    require_mistakes(before, true, "Leave them out.")
    asked = _require_query(range(len(batch)) if query is None else query, len(batch))
    places = _require_places(tensor_of(others), len(asked), len(batch))
    chosen = top_filters(ranking, filters, k, len(asked))
    group = group or ProcessGroup()

    def tried(step: int) -> Tensor:
        place = asked[step]
        own = torch.cat([torch.tensor([place]), places[step]]).to(examples.device)
        # Each image's own gradient, taken once; the same changed model then scores all of them.
        with fine_tune_step(
            model,
            chosen[step],
            examples[place : place + 1],
            target_of(label_rows(batch.part(place, 1))),
            learning_rate,
            loss=loss,
            bias=bias,
            batch_norm=batch_norm,
        ):
            return class_scores(model, batch.chosen(own))[0].cpu()

    steps = tqdm(group.own(range(len(asked))), desc="steps tried on others", disable=not group.shows(show_progress))
    rows = list(group.in_order(steps, tried, "steps"))
    after = torch.stack(rows)
    true = true.cpu()
    corrected = after.argmax(dim=2) == true[torch.cat([torch.tensor(asked)[:, None], places], dim=1)]
    wanted = true[places]
    return StepTransfer(
        others=places,
        own=corrected[:, 0],
        corrected=corrected[:, 1:],
        before=before.cpu().double().softmax(dim=1)[places, wanted],
        after=after[:, 1:].double().softmax(dim=2).gather(2, wanted[:, :, None])[:, :, 0],
    )


def _require_query(query: Sequence[int] | Tensor, count: int) -> list[int]:
    places = [int(place) for place in query]
    if not places or min(places) < 0 or max(places) >= count:
        message = f"Expected places of images from 0 to {count - 1} in `query`, at least one, got {places}."
        raise InputError(message)
    return places


def _require_places(others: Tensor, steps: int, count: int) -> Tensor:
    expected = f"`others` ({steps}, M) with places from 0 to {count - 1} for each of {steps} images"
    if not isinstance(others, Tensor) or others.is_floating_point() or others.is_complex():
        message = f"Expected {expected}, whole numbers, got {getattr(others, 'dtype', type(others).__name__)}."
        raise InputError(message)
    if others.ndim != 2 or len(others) != steps or not others.numel():
        message = f"Expected {expected}, got shape {tuple(others.shape)}."
        raise InputError(message)
    if bool(((others < 0) | (others >= count)).any()):
        message = f"Expected {expected}, got {int(others.min())} to {int(others.max())}."
        raise InputError(message)
    return others.cpu().long()
