"""A cure for each of several groups of mistakes, one after the other on the same model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from captum_paramsal.errors import PatchError
from captum_paramsal.hooks import Output, scored_model
from captum_paramsal.repair.cures.attempts import CureSettings
from captum_paramsal.repair.cures.cure import cure
from captum_paramsal.repair.cures.result import Cure
from captum_paramsal.repair.treatment.patch import Patch
from captum_paramsal.repair.treatment.patch_stack import PatchStack
from captum_paramsal.repair.treatment.weights import trainable_copy
from captum_paramsal.summary import Summarized


@dataclass(frozen=True, eq=False, repr=False)
class GroupCures(Summarized):
    """What came of each group.

    Attributes:
        cures: One for each group, each made on the model with those before it that were kept.
    """

    cures: tuple[Cure, ...]

    @property
    def patches(self) -> dict[int, Patch]:
        """Patches of the groups whose cure was kept, by the group's number, the first to be put on first."""
        return {number: one.patch for number, one in enumerate(self.cures) if one.patch is not None}

    def apply(self, model: nn.Module) -> PatchStack:
        """Put on all kept cures, in place.

        Returns:
            What takes them off again, each alone as far as they share no number.

        Raises:
            PatchError: The model is not the one that they were made for; nothing is changed.
        """
        stack = PatchStack(model)
        try:
            for patch in self.patches.values():
                stack.put_on(patch)
        except PatchError:
            for patch in reversed(stack.patches):
                stack.take_off(patch)
            raise
        return stack

    @property
    def already_right(self) -> list[int]:
        """Of each group, how many of its mistakes were right before its own cure, with the kept ones before it."""
        return [len(one.parts["mistakes"]["left out"]) for one in self.cures]

    def to_table(self) -> list[dict[str, Any]]:
        """One row per group: mistakes given, judged and cured, right images broken, status, reason.

        Those that were right already, with the cures before, are counted among those given, and apart.
        """
        rows = []
        for number, (one, already) in enumerate(zip(self.cures, self.already_right, strict=True)):
            first = one.to_table()[0]
            rows.append(
                {"group": number, "given": one.context["mistakes"] + already, "already right": already}
                | {name: first[name] for name in ("mistakes", "cured", "right images", "broken", "p", "status")}
                | {"reason": one.verdict.reason}
            )
        return rows

    def _facts(self) -> Mapping[str, Any]:
        statuses = [one.verdict.status for one in self.cures]
        return {"groups": len(statuses)} | {status: statuses.count(status) for status in dict.fromkeys(statuses)}


def cure_groups(
    model: nn.Module,
    groups: Sequence[Iterable[Any]],
    keep: Iterable[Any],
    *,
    settings: CureSettings | None = None,
    output: Output | None = None,
    show_progress: bool = True,
) -> GroupCures:
    """Cure one group of mistakes after the other, each as :func:`captum_paramsal.repair.cure` does.

    Each cure is made, and judged, on the model with the kept cures before it, so that what is kept is known to go
    together. The images that must stay right are divided in the same way for all groups: those that judge never taught.
    Each group is judged at the level of the rule: of twenty groups that nothing cures, one is kept by chance at 5 %.

    Args:
        model: A classifier that returns class scores ``(N, C)``; left as it is.
        groups: Batches (inputs, labels) of each group's mistakes, such as those of a triage. What an earlier cure has
            put right is left out.
        keep: The same of images that must stay right; kept in memory.
        settings: Steps, strengths, the rule, for each group.
        output: What makes class scores ``(N, C)`` of what the model returns, where it returns something else than
            these or ``logits``.
        show_progress: Show a progress bar over each group's steps.

    Raises:
        InputError, TargetError, TreatmentError: See :func:`captum_paramsal.repair.cure`.

    >>> from captum_paramsal.demo import load_model, load_scenes, normalize
    >>> model, scenes = load_model(), load_scenes("test")
    >>> images, labels = normalize(scenes.images), scenes.labels
    >>> wrong = model(images).argmax(dim=1) != labels
    >>> few = [(images[wrong][:5], labels[wrong][:5])]
    >>> found = cure_groups(model, [few], [(images, labels)], show_progress=False)
    >>> found.cures[0].verdict.status, found.patches
    ('too few', {})
    """
    settings = settings or CureSettings()
    with torch.inference_mode(mode=False):
        cured = trainable_copy(scored_model(model))
    right = list(keep)
    cures = []
    for number, mistakes in enumerate(groups):
        found = cure(cured, mistakes, right, settings=settings, output=output, show_progress=show_progress)
        cures.append(replace(found, context={**found.context, "group": number}))
        if found.kept:
            found.apply(cured)
    return GroupCures(tuple(cures))
