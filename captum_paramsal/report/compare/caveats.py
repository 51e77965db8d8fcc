"""What a reader should know of a comparison before believing a number."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from captum_paramsal.attr import InputSpaceSaliency, POTSaliency
from captum_paramsal.comparison import Comparison
from captum_paramsal.metrics.map_similarity import NO_SSIM, has_scikit_image
from captum_paramsal.metrics.segments import NO_SEGMENTS
from captum_paramsal.reference import Reference

TAILS = "input_space_pot"
"""The preset whose maps show nothing where hardly a filter is in its tail."""
_ENOUGH = 20
"""Images of a group below which an interval is hardly worth its name."""
_NEED_SCIKIT_IMAGE = {"randomised SSIM": NO_SSIM, "IROF": NO_SEGMENTS}


class TailedFilters:
    """How many filters are above the threshold of their tail, on every image.

    Attributes:
        counts: ``(N,)``.
        boosted: How many of the highest :data:`TAILS` boosts. Where no more than that have a score at all, boosting
            does not turn the scores, and no pixel would turn them further.
    """

    def __init__(self, counts: Tensor, boosted: int) -> None:
        self.counts = counts
        self.boosted = boosted

    @classmethod
    def of(
        cls,
        comparison: Comparison,
        model: nn.Module,
        reference: Reference | None,
        images: Sequence[Tensor],
        batch_size: int,
    ) -> TailedFilters | None:
        """Count them, if :data:`TAILS` took part.

        Args:
            comparison: Of the images.
            model: The model, on their device.
            reference: With tails.
            images: All that were compared on, each ``(C, H, W)``.
            batch_size: Images at once, where all have one size.
        """
        if reference is None or TAILS not in comparison.methods:
            return None
        saliency = POTSaliency(model, reference)
        size = batch_size if len({image.shape for image in images}) == 1 else 1
        parts = [
            saliency.attribute(
                torch.stack([*images[start : start + size]]), target=comparison.targets[start : start + size].tolist()
            )
            for start in range(0, len(images), size)
        ]
        counts = torch.cat([(part > 0).sum(dim=1).cpu() for part in parts])
        return cls(counts, InputSpaceSaliency(saliency).top_k)


def comparison_caveats(comparison: Comparison, wrong: Tensor, tailed: TailedFilters | None = None) -> list[str]:
    """Caveats in plain words.

    Args:
        comparison: What was found.
        wrong: Which images are mistakes, ``(N,)`` bool.
        tailed: Of the model's filters, if :data:`TAILS` took part.
    """
    caveats = []
    mistakes = int(wrong.sum())
    for count, kind in ((mistakes, "mistake"), (len(wrong) - mistakes, "correctly classified image")):
        if count < _ENOUGH:
            too_few = ": too few for small differences between methods to mean much." if count else "."
            caveats.append(f"There {'is' if count == 1 else 'are'} {_counted(count or 'no', kind)}{too_few}")
    for method, flags in zip(comparison.methods, comparison.degenerate, strict=True):
        known = torch.zeros_like(flags)
        if method == TAILS and tailed is not None:
            known = tailed.counts <= tailed.boosted
            caveats += _on_tails(tailed)
        caveats += _on_degenerate(method, int((flags & ~known).sum()))
    if failed := sorted({failure.method for failure in comparison.failures}):
        caveats.append(f"Some steps failed for {', '.join(failed)}; what was raised stands below.")
    if not has_scikit_image():
        names = [column.name for column in comparison.columns if column.name in _NEED_SCIKIT_IMAGE]
        caveats += [f"There is no {name}: {_NEED_SCIKIT_IMAGE[name]}" for name in names]
    return caveats


def _on_tails(tailed: TailedFilters) -> list[str]:
    silent, most = int((tailed.counts == 0).sum()), tailed.boosted
    few = int(((tailed.counts > 0) & (tailed.counts <= most)).sum())
    caveats = []
    if silent:
        caveats.append(
            f"On {_counted(silent, 'image')} {TAILS} gave a map of nothing but zeros, because no filter of the model "
            "exceeds its threshold there. Below the threshold a filter's tail score is 0, whatever the pixels, so no "
            "pixel changes it: by this method nothing is unusual about such an image. A map of zeros has no score, so "
            "the means of the method are over the other images."
        )
    if few:
        caveats.append(
            f"On {_counted(few, 'image')} no more than {most} filters exceed their threshold. {TAILS} boosts the "
            f"{most} highest scores and asks which pixels would bring the scores closer to that. Where all others are "
            "0 they are as close as can be, so its map is zero or mere rounding, and its numbers there mean nothing."
        )
    return caveats


def _on_degenerate(method: str, count: int) -> list[str]:
    if not count:
        return []
    owner = "They have" if count > 1 else "It has"
    maps = f"{method} gave {_counted(count, 'degenerate map')}, the same everywhere or not finite."
    return [f"{maps} {owner} no score, so its means are over the other images."]


def _counted(count: int | str, thing: str) -> str:
    return f"{count} {thing}{'' if count == 1 else 's'}"
