"""What a reader should know before believing a report on two checkpoints."""

from __future__ import annotations

from collections.abc import Iterator

from captum_paramsal.models_compared import Answers, ImageDifferences, ModelComparison

_FEW = 20
"""Images of a group below which an interval is hardly worth its name."""
_CHANCE = 0.05
_NAMED = 3
_LEFT_OVER = 0.1
"""Share of a difference in loss that may belong to no part of the network without a word."""


def model_caveats(answers: Answers, comparison: ModelComparison, differences: ImageDifferences) -> Iterator[str]:
    """Each caveat as a sentence or two.

    Args:
        answers: What both say of all images.
        comparison: On some of them.
        differences: On some of these.
    """
    counts = {"A": len(answers.only_a), "B": len(answers.only_b)}
    if answers.p_value > _CHANCE and len(answers.only_a) + len(answers.only_b):
        yield (
            f"{counts['A']:,} images turned wrong and {counts['B']:,} turned right: checkpoints of equal worth would "
            f"differ as much by chance (exact McNemar test, p = {answers.p_value:.2g})."
        )
    for name, count in counts.items():
        if count < _FEW:
            words = f"Only {count:,} {'image is' if count == 1 else 'images are'}" if count else "No image is"
            yield f"{words} right in {name} alone: too few for small differences to mean much."
    moved = comparison.moved_norms
    if moved:
        farthest = ", ".join(moved[:_NAMED])
        yield (
            f"The running statistics of {len(moved)} {'norm' if len(moved) == 1 else 'norms'} differ, farthest in "
            f"{farthest}. They belong to no filter; their share of the loss has a line of its own."
        )
    if not comparison.change.any():
        yield "The weights of all filters are the same in both, so none has changed more than the others of its layer."
    yield from _left_over(comparison)
    if comparison.context["left_out"]:
        names = ", ".join(comparison.context["left_out"][:_NAMED])
        yield f"Buffers that nothing takes the gradient of differ too ({names}): what they do is in the part left over."
    for name, reason in differences.refused.items():
        yield f"There are no {name}: {reason}"


def _left_over(comparison: ModelComparison) -> Iterator[str]:
    """Where the shares do not add up to the difference in loss that they are shares of."""
    parts = {row["part"]: row for row in comparison.loss_table()}
    for column, name, difference in zip(("only_a", "only_b"), "AB", comparison.loss_difference.tolist(), strict=True):
        left = parts["left over"][column]
        if abs(left) > _LEFT_OVER * abs(difference):
            yield (
                f"On images that only {name} gets right, {left:.3g} of the difference in loss of {difference:.3g} is "
                f"left over: {comparison.context['steps']} steps between the two checkpoints do not tell whose it is, "
                "and the shares of filters may be as far off. Give more `steps`."
            )
