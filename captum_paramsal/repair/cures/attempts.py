"""Attempts at a cure: change some numbers step by step, choose how far, and judge."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import Adam
from tqdm import tqdm

from captum_paramsal.errors import InputError
from captum_paramsal.hooks import frozen_eval
from captum_paramsal.repair.cures.changeable import KINDS, Changeable, EditedNumbers
from captum_paramsal.repair.cures.division import CureImages, Images
from captum_paramsal.repair.cures.verdict import AcceptanceRule, Verdict
from captum_paramsal.repair.treatment.strengths import require_finite
from captum_paramsal.repair.treatment.training_items import TrainingItem, scores_of

_SHARES = (1.0, 0.7, 0.5, 0.35, 0.25)
"""Shares of a change that are tried: the smallest that cures as much is the least that cures."""

_CAUTION = 0.5
"""Share of what may break that the choosing images are granted: the best of many states looks better than it is."""


@dataclass(frozen=True)
class CureSettings:
    """How a cure is looked for.

    Attributes:
        change: What is changed: "filters", "norms" (the factors and offsets of all of them), the "last layer", or the
            "whole network". Where mistakes come of no damaged filter, norms or all of it often cure more.
        count: Filters that are changed.
        ablations: Filters that are ablated at most to find these, see :func:`captum_paramsal.triage.rank_suspects`.
        steps: Steps of Adam.
        learning_rate: Length of a step, as a share of the root mean square of the tensor that is changed; a tenth of it
            where the whole network is.
        keep: Weight of what must stay: of the cross entropy of right images, beside that of the mistakes.
        every: Steps between two states that can be chosen.
        batch_size: Mistakes in a step; four times as many right images go with them, and as many are run at once.
        seed: Of the division of the images, of the batches and of random filters.
        rule: When the cure is kept.

    Raises:
        InputError: A value outside of its range.
    """

    change: str = "filters"
    count: int = 5
    ablations: int = 1000
    steps: int = 90
    learning_rate: float = 0.03
    keep: float = 10.0
    every: int = 30
    batch_size: int = 32
    seed: int = 0
    rule: AcceptanceRule = field(default_factory=AcceptanceRule)

    def __post_init__(self) -> None:
        if self.change not in KINDS:
            message = f"Expected `change` to be one of {', '.join(map(repr, KINDS))}, got {self.change!r}."
            raise InputError(message)
        for name in ("count", "steps", "every", "batch_size"):
            if not isinstance(getattr(self, name), int) or getattr(self, name) < 1:
                message = f"Expected `{name}` to be a whole number of at least 1, got {getattr(self, name)!r}."
                raise InputError(message)
        if not isinstance(self.ablations, int) or self.ablations < 0:
            message = f"Expected `ablations` to be a whole number of at least 0, got {self.ablations!r}."
            raise InputError(message)
        if not self.learning_rate > 0 or not self.keep >= 0:
            message = (
                f"Expected `learning_rate` above 0 and `keep` of at least 0, got {self.learning_rate} and {self.keep}."
            )
            raise InputError(message)


@dataclass(frozen=True, eq=False)
class Attempt:
    """What changing some numbers came to.

    Attributes:
        name: What was changed.
        numbers: How many numbers could change.
        size: Norm of the change as a share of the norm of the numbers that could change.
        values: New values of the changed parameters, by name; none where no state was worth choosing.
        verdict: What the judging images say.
        predicted: What the changed model says of them, int64, under "mistakes" and "keep"; empty where it did not come
            to that.
    """

    name: str
    numbers: int
    size: float
    values: Mapping[str, Tensor]
    verdict: Verdict
    predicted: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class _Candidate:
    values: Mapping[str, Tensor]
    size: float
    cured: int
    broken: int

    @property
    def rank(self) -> tuple[int, int, float]:
        """More cured, then fewer broken, then a smaller change."""
        return self.cured, -self.broken, -self.size


class Attempts:
    """Attempts with the same images and the same budget.

    Args:
        model: A copy that may be changed; it is as it was after each attempt.
        images: What is to be cured, and what must stay right.
        settings: How.
        bar: A progress bar over the steps.
    """

    def __init__(self, model: nn.Module, images: CureImages, settings: CureSettings, bar: tqdm[Any]) -> None:
        self._model = model
        self._mistakes = images.mistakes
        self._keep = images.keep
        self._settings = settings
        self._bar = bar

    def with_changes(self, changeable: Changeable) -> Attempt:
        """Change some numbers, choose how far, and judge."""
        name, count = changeable.name, changeable.count
        if not count:
            reason = f"Refused: the model has no {name} to change."
            return Attempt(name, 0, 0.0, {}, Verdict.without_judges("refused", reason))
        numbers = EditedNumbers(self._model, changeable)
        with frozen_eval(self._model, numbers.parameters.values()), numbers.restored():
            best = self._chosen(numbers)
            if best is None:
                return Attempt(name, count, 0.0, {}, self._none_chosen())
            numbers.write(best.values)
            judges = {"mistakes": self._mistakes.judge, "keep": self._keep.judge}
            predicted = {kind: self._predicted(of) for kind, of in judges.items()}
        right = {kind: predicted[kind] == of.labels for kind, of in judges.items()}
        verdict = self._settings.rule.judge(right["mistakes"], ~right["keep"])
        said = {kind: of.cpu() for kind, of in predicted.items()}
        return Attempt(name, count, best.size, best.values, verdict, said)

    def _chosen(self, numbers: EditedNumbers) -> _Candidate | None:
        """The state on the way that cures most, of those that break no more than they may."""
        allowed = _CAUTION * self._settings.rule.most_broken * len(self._keep.choose)
        best: _Candidate | None = None
        for values in self._states(numbers):
            for share in _SHARES:
                found = self._candidate(numbers, numbers.part_of(values, share))
                if found.cured and found.broken <= allowed and (best is None or found.rank > best.rank):
                    best = found
            numbers.write(values)
        return best

    def _states(self, numbers: EditedNumbers) -> Iterator[dict[str, Tensor]]:
        """Values every few steps; whoever writes others in between writes these back."""
        settings, mistakes, keep = self._settings, self._mistakes.learn, self._keep.learn
        generator = torch.Generator().manual_seed(settings.seed)
        optimizer = Adam(numbers.groups(settings.learning_rate))
        for step in range(1, settings.steps + 1):
            wrong = torch.randperm(len(mistakes), generator=generator)[: settings.batch_size]
            right = torch.randperm(len(keep), generator=generator)[: 4 * settings.batch_size]
            inputs = torch.cat([mistakes.inputs[wrong], keep.inputs[right]])
            labels = torch.cat([mistakes.labels[wrong], keep.labels[right]])
            scores = scores_of(self._model, TrainingItem(inputs, labels))
            of_mistakes, of_right = (
                cross_entropy(scores[part], labels[part]) for part in (slice(len(wrong)), slice(len(wrong), None))
            )
            loss = of_mistakes + settings.keep * of_right
            require_finite({"loss": loss.item()}, f"of a cure in step {step}")
            numbers.step(optimizer, loss)
            self._bar.update()
            if step % settings.every == 0 or step == settings.steps:
                yield numbers.values()

    def _candidate(self, numbers: EditedNumbers, values: Mapping[str, Tensor]) -> _Candidate:
        numbers.write(values)
        cured = int(self._right(self._mistakes.choose).sum())
        # What cures nothing is not chosen, whatever it breaks.
        broken = int((~self._right(self._keep.choose)).sum()) if cured else 0
        return _Candidate(values, numbers.size(values), cured, broken)

    def _right(self, images: Images) -> Tensor:
        """Which images the model gets right now, ``(N,)`` bool."""
        return self._predicted(images) == images.labels

    def _predicted(self, images: Images) -> Tensor:
        """What the model says of them now, ``(N,)`` int64."""
        with torch.no_grad():
            parts = [
                scores_of(self._model, TrainingItem(inputs, labels)).argmax(dim=1)
                for inputs, labels in images.batches(4 * self._settings.batch_size)
            ]
        return torch.cat(parts)

    def _none_chosen(self) -> Verdict:
        most = _CAUTION * self._settings.rule.most_broken
        reason = (
            f"Refused: no change cured any of the {len(self._mistakes.choose)} mistakes that it is chosen by and broke "
            f"at most {most:.2%} of the {len(self._keep.choose)} right images beside them."
        )
        return Verdict.without_judges("refused", reason)
