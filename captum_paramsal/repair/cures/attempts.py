"""Attempts at a cure: change some numbers step by step, choose how far, and judge."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import Adam
from tqdm import tqdm

from captum_paramsal.errors import InputError
from captum_paramsal.functional import decision_margins, soft_right
from captum_paramsal.hooks import frozen_eval
from captum_paramsal.repair.cures.changeable import ANY, KINDS, Changeable, EditedNumbers
from captum_paramsal.repair.cures.division import CureImages, Images
from captum_paramsal.repair.cures.verdict import AcceptanceRule, Verdict
from captum_paramsal.repair.treatment.strengths import require_finite
from captum_paramsal.repair.treatment.training_items import TrainingItem, scores_of

_SHARES = (1.0, 0.7, 0.5, 0.35, 0.25)
"""Shares of a change that are tried: the smallest that cures as much is the least that cures."""

_CAUTION = 0.6
"""Share of what may break that the choosing images are granted: the best of many states looks better than it is."""

_NONE = 0.1
"""Right images, softly counted, that are as good as none: where none may break, every change moves all a little."""

_AS_GOOD = 0.5
"""Mistakes, softly counted, by which what changes fewer numbers may cure less and be taken."""

_SOFTNESS = 0.05
"""Width of a soft count, in standard deviations of right images' margins: whole counts of so few are too coarse."""


@dataclass(frozen=True)
class CureSettings:
    """How a cure is looked for.

    Attributes:
        change: What is changed: "filters", "norms" (the factors and offsets of all of them), the "last layer", the
            "whole network", or "any" of these, the one that does best on the choosing images. Where mistakes come of no
            damaged filter, norms or all of it often cure more.
        count: Filters that are changed, at most: the first of them is tried alone, too.
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
        choices = (*KINDS, ANY)
        if self.change not in choices:
            message = f"Expected `change` to be one of {', '.join(map(repr, choices))}, got {self.change!r}."
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
        name: What was changed; of several, the one that was chosen.
        numbers: How many numbers could change, of several as well.
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
    """A state on the way, and the shares of the choosing mistakes and right images that it cures and breaks, softly."""

    changeable: Changeable
    values: Mapping[str, Tensor]
    size: float
    cures: float
    breaks: float

    @property
    def rank(self) -> tuple[float, float]:
        """More cured, then a smaller change."""
        return self.cures, -self.size


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
        before = decision_margins(images.keep.choose.scores, images.keep.choose.labels)
        self._before = soft_right(before, _width_of(before))
        self._allowed = max(_CAUTION * settings.rule.most_broken, _NONE / len(images.keep.choose))
        self._found: dict[Changeable, _Candidate | None] = {}

    def with_changes(self, name: str, several: Sequence[Changeable]) -> Attempt:
        """Change the numbers of each, choose one of them and how far, and judge.

        Args:
            name: What they are called together.
            several: Which numbers.
        """
        count = max(one.count for one in several)
        if not count:
            why = next((one.refused for one in several if one.refused), f"The model has no {name} to change.")
            reason = f"Refused: {why[:1].lower()}{why[1:]}"
            return Attempt(name, 0, 0.0, {}, Verdict.without_judges("refused", reason))
        found = [best for one in several if one.count and (best := self._best(one)) is not None]
        if not found:
            return Attempt(name, count, 0.0, {}, self._none_chosen())
        most = max(one.cures for one in found)
        # As little as cures: what half an image tells apart is as good.
        as_good = [one for one in found if (most - one.cures) * len(self._mistakes.choose) <= _AS_GOOD]
        best = min(as_good, key=lambda one: (one.changeable.count, -one.cures))
        numbers = EditedNumbers(self._model, best.changeable)
        judges = {"mistakes": self._mistakes.judge, "keep": self._keep.judge}
        with frozen_eval(self._model, numbers.parameters.values()), numbers.restored():
            numbers.write(best.values)
            predicted = {kind: self._scores(of).argmax(dim=1) for kind, of in judges.items()}
        right = {kind: predicted[kind] == of.labels for kind, of in judges.items()}
        verdict = self._settings.rule.judge(right["mistakes"], ~right["keep"])
        said = {kind: of.cpu() for kind, of in predicted.items()}
        chosen = best.changeable
        return Attempt(chosen.name, chosen.count, best.size, best.values, verdict, said)

    def _best(self, changeable: Changeable) -> _Candidate | None:
        """The state that is chosen of these numbers, which are changed once."""
        if changeable not in self._found:
            numbers = EditedNumbers(self._model, changeable)
            with frozen_eval(self._model, numbers.parameters.values()), numbers.restored():
                self._found[changeable] = self._chosen(changeable, numbers)
        return self._found[changeable]

    def _chosen(self, changeable: Changeable, numbers: EditedNumbers) -> _Candidate | None:
        """The state on the way that cures most, of those that break no more than they may."""
        best: _Candidate | None = None
        for values in self._states(numbers):
            for share in _SHARES:
                found = self._candidate(changeable, numbers, numbers.part_of(values, share))
                if found is not None and found.breaks <= self._allowed and (best is None or found.rank > best.rank):
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

    def _candidate(
        self, changeable: Changeable, numbers: EditedNumbers, values: Mapping[str, Tensor]
    ) -> _Candidate | None:
        """A state as the choosing images see it; none that cures no mistake, whatever it breaks."""
        numbers.write(values)
        mistakes = self._margins(self._mistakes.choose)
        if not (mistakes > 0).any():
            return None
        keep = self._margins(self._keep.choose)
        # The model's own width, or larger scores alone would make it surer of everything.
        width = _width_of(keep)
        cures = soft_right(mistakes, width).mean().item()
        breaks = (self._before - soft_right(keep, width)).clamp(min=0).mean().item()
        return _Candidate(changeable, values, numbers.size(values), cures, breaks)

    def _margins(self, images: Images) -> Tensor:
        """By how much each label leads now, ``(N,)``."""
        return decision_margins(self._scores(images), images.labels)

    def _scores(self, images: Images) -> Tensor:
        """Class scores of the model as it is now, ``(N, C)``."""
        with torch.no_grad():
            parts = [
                scores_of(self._model, TrainingItem(inputs, labels))
                for inputs, labels in images.batches(4 * self._settings.batch_size)
            ]
        return torch.cat(parts)

    def _none_chosen(self) -> Verdict:
        reason = (
            f"Refused: no change cured any of the {len(self._mistakes.choose)} mistakes that it is chosen by and broke "
            f"at most {self._allowed:.2%} of the {len(self._keep.choose)} right images beside them."
        )
        return Verdict.without_judges("refused", reason)


def _width_of(margins: Tensor) -> float:
    """Width of a soft count; hardly any where all margins are the same, so that whole images count."""
    return max(_SOFTNESS * margins.double().std().item(), torch.finfo(torch.float64).tiny)
