"""What a reader should know before believing a triage."""

from __future__ import annotations

from collections.abc import Iterator

from captum_paramsal.files.text import number_of
from captum_paramsal.repair import CureSettings, GroupCures
from captum_paramsal.triage import Triage

_FEW = 30
"""Mistakes below which only a large difference can be significant among hundreds of filters."""


def triage_caveats(triage: Triage, images: int, *, given: bool) -> Iterator[str]:
    """Each caveat as a sentence or two.

    Args:
        triage: The triage.
        images: How many images were sorted.
        given: Whether the reference was taken elsewhere.
    """
    mistakes, compared = len(triage), int(triage.context["compared_mistakes"])
    if triage.context["compared_within"] != "classes":
        yield (
            "Less than half of the mistakes have a correct image of their class, so mistakes were compared "
            "with correct images of all classes. A filter may stand out because of the classes that are hard, and "
            "not because of what goes wrong in them. Give more images of each class."
        )
    elif compared < mistakes:
        yield (
            f"{mistakes - compared:,} of {mistakes:,} mistakes have no correct image of their class to compare with, "
            "and do not count in the comparison with correct images. They are sorted all the same."
        )
    if left_out := triage.context.get("without_gradient", 0):
        yield (
            f"{left_out:,} of {number_of(images, 'image')} have a gradient of 0 in every filter: the model is too "
            "certain. They do not count in the comparison with correct images, and count as 0 in what filters usually "
            "do. A copy of the model in float32 or float64 loses fewer."
        )
    if mistakes < _FEW:
        yield (
            f"There {'is' if mistakes == 1 else 'are'} only {number_of(mistakes, 'mistake')}. That a filter is not "
            "called significant here says little: only a large difference could be."
        )
    if not given:
        yield (
            "What filters usually do was taken from these images themselves, the mistakes among them"
            f" ({mistakes / images:.0%}), so what mistakes do is partly called usual. A reference of other images is "
            "better."
        )


def group_cures_caveats(cures: GroupCures | None, settings: CureSettings | None) -> Iterator[str]:
    """Of the cures of all groups together."""
    if cures is None or settings is None:
        return
    judged = [one for one in cures.cures if one.verdict.status != "too few"]
    if len(judged) > 1:
        yield (
            f"{len(judged)} groups were judged at a level of {settings.rule.level:.0%} each, so that up to "
            f"{len(judged) * settings.rule.level / 2:.1f} cures that cure nothing would be kept by chance."
        )
    right = max((len(one.verdict.broken) for one in judged), default=0)
    if right and right * settings.rule.most_broken < 1:
        yield (
            f"Only {right:,} right images judged the cures, so that by the rule not one of them may break. Give more "
            "images."
        )
