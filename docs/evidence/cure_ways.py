"""Every way to spend a cure's budget, each as far as it is chosen to go, and each at the same harm.

**At the same harm**: of the states that a cure looks at, those count that break at most a level's share of the right
images that nothing learnt from (they choose and they judge). Of these the one is taken that cures most of the choosing
mistakes, of equals the one that breaks fewest, and without any the model as it was. It is the judging mistakes that say
what it cures, which took no part in that, and a third set what it cures and breaks elsewhere.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from cure_cases import Case, predicted
from torch import Tensor, nn
from tqdm import tqdm

from captum_paramsal.profiles import FilterParameters
from captum_paramsal.repair import CureSettings
from captum_paramsal.repair.cures.attempts import Attempts
from captum_paramsal.repair.cures.changeable import ANY, KINDS, Changeable, EditedNumbers
from captum_paramsal.repair.cures.cure import suspects, ways
from captum_paramsal.repair.cures.division import LEAST_MISTAKES, CureImages
from captum_paramsal.repair.cures.result import row_of
from captum_paramsal.repair.treatment.weights import trainable_copy

LEVELS = (0.0025, 0.005, 0.01)
"""Shares of right images that may break."""


@dataclass(frozen=True, eq=False)
class State:
    """Numbers on the way, and how many they cure and break.

    Attributes:
        values: New values of the changed parameters, by name.
        chosen: Choosing mistakes that are cured.
        cured: Judging mistakes that are cured.
        broken: Right images that choose or judge and are broken.
    """

    values: Mapping[str, Tensor]
    chosen: int
    cured: int
    broken: int


def at_level(states: Sequence[State], level: float, right: int) -> State | None:
    """The state at a level of harm, of so many right images; none where it is best to leave the model as it was."""
    harmless = [one for one in states if one.chosen and one.broken <= level * right]
    return max(harmless, key=lambda one: (one.chosen, -one.broken), default=None)


class WatchedAttempts(Attempts):
    """Attempts that remember every state that they look at.

    Attributes:
        states: By what is changed; those that cure no choosing mistake are left out, since none of them is chosen.
    """

    def __init__(self, model: nn.Module, images: CureImages, settings: CureSettings) -> None:
        super().__init__(model, images, settings, tqdm(disable=True))
        self.states: dict[Changeable, list[State]] = {}

    def of(self, several: Sequence[Changeable]) -> list[State]:
        """All states of what one way changes."""
        return [state for one in several for state in self.states.get(one, [])]

    def _candidate(self, changeable: Changeable, numbers: EditedNumbers, values: Mapping[str, Tensor]) -> Any:
        found = super()._candidate(changeable, numbers, values)
        if found is not None:
            cured, chosen = (int((self._margins(of) > 0).sum()) for of in (self._mistakes.judge, self._mistakes.choose))
            broken = sum(int((self._margins(of) <= 0).sum()) for of in (self._keep.choose, self._keep.judge))
            self.states.setdefault(changeable, []).append(State(values, chosen, cured, broken))
        return found


def changes(before: Tensor, after: Tensor) -> dict[str, int]:
    """Images, right ones before and after, cured and broken ones, of which images are right, ``(N,)`` bool each."""
    return {
        "images": len(before),
        "before": int(before.sum()),
        "after": int(after.sum()),
        "cured": int((~before & after).sum()),
        "broken": int((before & ~after).sum()),
    }


class ThirdSet:
    """What changed numbers do to images that no part of a cure has seen.

    Args:
        case: With the third set.
        model: A copy of its model.
    """

    def __init__(self, case: Case, model: nn.Module) -> None:
        self._images, self._model = case.third, model
        self._before = predicted(case.model, case.third) == case.third.labels
        # With the values, so that no others can have their number.
        self._found: dict[int, tuple[Mapping[str, Tensor], dict[str, int]]] = {}

    def counts(self, numbers: EditedNumbers, values: Mapping[str, Tensor]) -> dict[str, int]:
        """Images, right ones before and after, cured and broken ones; the same values are counted once."""
        if id(values) not in self._found:
            with numbers.restored():
                numbers.write(values)
                after = predicted(self._model, self._images) == self._images.labels
            self._found[id(values)] = values, changes(self._before, after)
        return self._found[id(values)][1]


def all_ways(case: Case, chosen: Tensor, settings: CureSettings) -> dict[str, Any]:
    """What :func:`captum_paramsal.repair.cure` says of some mistakes by every way, and each way at the same harm.

    The last two ways are the whole network with steps as long as those of the others (its own are shorter), and any:
    whichever of filters, whole network, last layer and norms is chosen.
    """
    images = CureImages.of(
        case.model, case.given[chosen].batches(), case.given[~case.mistakes()].batches(), settings.seed
    )
    if len(images.mistakes) < LEAST_MISTAKES:
        return {"status": "too few", "reason": f"{len(images.mistakes)} mistakes", "rows": []}
    filters = suspects(case.model, images, settings, show_progress=False)
    copied = trainable_copy(case.model)
    parameters = FilterParameters(copied, bias=True, batch_norm=True, inputs=images.keep.learn.inputs[:1])
    attempts, third = WatchedAttempts(copied, images, settings), ThirdSet(case, copied)
    whole = Changeable.whole_network(copied)
    long_steps = replace(whole, name=f"{whole.name}, steps of the others", pace=1.0)
    tried = ways(parameters, images, filters, settings)
    tried |= {long_steps.name: [long_steps], ANY: [one for kind in KINDS for one in tried[kind]]}
    numbers = EditedNumbers(copied, whole)
    rows, reasons = [], []
    for name, several in tried.items():
        made = attempts.with_changes(name, several)
        row = row_of(name, made.numbers, made.size, made.verdict)
        if made.numbers:
            row["chosen"] = made.name
            if made.verdict.status == "kept":
                row["third"] = third.counts(numbers, made.values)
            row["levels"] = _at_levels(attempts.of(several), images, third, numbers)
        rows.append(row)
        reasons.append(made.verdict.reason)
    names = [str(one) for one in filters]
    return {"status": rows[0]["status"], "reason": reasons[0], "filters": names, "rows": rows}


def _at_levels(
    states: Sequence[State], images: CureImages, third: ThirdSet, numbers: EditedNumbers
) -> dict[str, dict[str, Any]]:
    """The counts of a way, by the level of harm."""
    right = len(images.keep.choose) + len(images.keep.judge)
    untouched = State(numbers.values(), 0, 0, 0)
    levels = {}
    for level in LEVELS:
        found = at_level(states, level, right) or untouched
        levels[str(level)] = {
            "mistakes": len(images.mistakes.judge),
            "cured": found.cured,
            "right images": right,
            "broken": found.broken,
            "third": third.counts(numbers, found.values),
        }
    return levels
