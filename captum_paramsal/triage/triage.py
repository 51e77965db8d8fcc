"""From a labelled set to its mistakes, sorted by what made them."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import torch
from scipy.stats import false_discovery_control
from torch import Tensor, nn

from captum_paramsal.errors import FewSamplesWarning, InputError, warn_caller
from captum_paramsal.files import Fingerprint
from captum_paramsal.functional import Loss, cross_entropy, loss_name, standardize
from captum_paramsal.hooks import Output
from captum_paramsal.profiles import FilterProfile, LayerSelection
from captum_paramsal.reference import ProcessGroup, Reference
from captum_paramsal.reference.pieces import Pieces
from captum_paramsal.stats import Moments, StratifiedRanks, stratified_ranks
from captum_paramsal.triage.grouping import group_by_similarity, nearest_by_similarity
from captum_paramsal.triage.result import Triage
from captum_paramsal.triage.scored_images import ScoredImages
from captum_paramsal.triage.set_saliency import SetSaliency
from captum_paramsal.versions import __version__


def triage(
    model: nn.Module,
    batches: Iterable[Any],
    reference: Reference | None = None,
    *,
    level: float = 0.05,
    smallest: int = 3,
    layers: LayerSelection | None = None,
    loss: Loss = cross_entropy,
    internal_batch_size: int | None = None,
    total: int | None = None,
    seed: int = 0,
    checkpoint: str | os.PathLike[str] | None = None,
    show_progress: bool = True,
    output: Output | None = None,
) -> Triage:
    """Sort all mistakes of a labelled set: what is confused with what, which filters stand out, what belongs together.

    In a ``torch.distributed`` group every process calls this with the same model and batches. Each scores every
    ``size``-th batch, as in :meth:`captum_paramsal.Reference.fit`, and all get what one process would return.

    Three questions, each answered by comparison with the correct images:

    * Which filters are more salient in mistakes than in correct images *of the same class*? Each image's profile is
      divided by its mean, since a mistake has a larger loss and with it larger gradients everywhere; ranks are
      compared within classes (van Elteren's test), and the false discovery rate is controlled over filters (Benjamini
      and Hochberg).
    * Which mistakes belong together? Those whose filters stand out together more than chance would have it
      (:func:`captum_paramsal.triage.group_by_similarity`).
    * Which filters do all mistakes, or those of a group, want changed, and in one direction
      (:class:`captum_paramsal.triage.SetSaliency`)?

    Args:
        model: A classifier that returns class scores ``(N, C)``; left as it is.
        batches: Batches (inputs, labels) or (inputs, labels, additional_forward_args), such as a ``DataLoader``, read
            once. Mistakes are kept in memory.
        reference: What the filters usually do; by default, what they do in the images of the set.
        level: False discovery rate of the filters that are called significant.
        smallest: Mistakes that a group has at least.
        layers: Layers to score; by default those of the reference, or the default layers, see
            :func:`captum_paramsal.profiles.layers.select_layers`.
        loss: Loss per example.
        internal_batch_size: Images in one pass; bounds memory, not the result.
        total: Images in all, for the progress bar, where the batches do not tell.
        seed: Fixes the shuffling that groups are compared with.
        checkpoint: Folder that profiles are kept in, batch by batch: started again after an interruption, they are
            taken from there, whatever the number of processes. It stays; None keeps nothing.
        show_progress: Show progress bars.
        output: What makes class scores ``(N, C)`` of what the model returns, where it returns something else than
            these or ``logits``.

    Raises:
        InputError: Nothing to sort: no images, no mistakes, or nothing but mistakes; a ``level`` outside of (0, 1); or
            images that cannot be scored.
        TargetError: A batch's labels do not name one class per image.
        ReferenceMismatchError: The reference was taken on other weights, layers or another loss.

    Warns:
        FewSamplesWarning: Less than half of the mistakes have a correct image of their class, so that they are
            compared with correct images of all classes; or images are so certain that they have no gradient.
    """
    if not 0 < level < 1 or smallest < 2:
        message = f"Expected `level` between 0 and 1 and `smallest` of at least 2, got {level} and {smallest}."
        raise InputError(message)
    chosen = reference.filters if layers is None and reference is not None else layers
    profile = FilterProfile(model, chosen, loss, output=output)
    if reference is not None:
        reference.check_profile(profile)
    pieces = _pieces(checkpoint, profile, internal_batch_size)
    scored = ScoredImages.of(profile, batches, internal_batch_size, pieces, total=total, shown=show_progress)
    _require_both(scored)
    usual = Moments.of(scored.profile) if reference is None else reference.moments
    z_scores = standardize(scored.profile[scored.wrong].double(), usual.mean, usual.std)
    groups, similarity = group_by_similarity(z_scores, smallest, seed)
    neighbors, neighbor_similarity = nearest_by_similarity(z_scores)
    saliency = _saliency(profile, scored, groups, usual, internal_batch_size, show_progress=show_progress)
    known = scored.profile.mean(dim=1, dtype=torch.float64) > 0
    ranks, within = _ranks(scored, known)
    return Triage(
        filters=profile.filters,
        images=scored.wrong.nonzero()[:, 0],
        labels=scored.labels[scored.wrong],
        predicted=scored.predicted[scored.wrong],
        confidence=scored.confidence[scored.wrong],
        groups=groups,
        similarity=similarity,
        class_counts=torch.bincount(scored.labels),
        superiority=ranks.superiority,
        q_values=torch.from_numpy(false_discovery_control(ranks.p_values.numpy())),
        coherence=torch.cat([part.coherence for part in saliency]),
        excess=torch.cat([part.excess for part in saliency]),
        pull=torch.cat([part.pull for part in saliency]),
        context={
            "model": Fingerprint.of(profile.model).short,
            "images": len(scored.labels),
            "level": level,
            "compared_within": within,
            "compared_mistakes": ranks.compared,
            "without_gradient": int((~known).sum()),
            "reference": "the set itself" if reference is None else f"{reference.count} images",
            "seed": seed,
        },
        neighbors=neighbors,
        neighbor_similarity=neighbor_similarity,
    )


def _pieces(folder: str | os.PathLike[str] | None, profile: FilterProfile, size: int | None) -> Pieces:
    """Where profiles are kept, and what they depend on apart from images."""
    group = ProcessGroup.current()
    if folder is None:
        return Pieces(None, {}, group)
    weights, filters = Fingerprint.of(profile.model).short, dict(profile.candidates.counts)
    facts = {"version": __version__, "weights": weights, "filters": filters, "size": size}
    return Pieces(folder, facts | {"loss": loss_name(profile.loss)}, group)


def _saliency(
    profile: FilterProfile,
    scored: ScoredImages,
    groups: Tensor,
    usual: Moments,
    internal_batch_size: int | None,
    *,
    show_progress: bool,
) -> list[SetSaliency]:
    """Of all mistakes together, and of each group."""
    count = int(groups.max()) + 1
    # Mistakes without a group come last, so that they still count among all mistakes.
    placed = torch.where(groups < 0, count, groups)
    sums = scored.gradient_sums(profile, placed, count + 1, internal_batch_size, shown=show_progress)
    parts = [sums.of_groups(range(count + 1)), *(sums.of_groups([group]) for group in range(count))]
    return [SetSaliency.of(profile, part, usual) for part in parts]


def _require_both(scored: ScoredImages) -> None:
    wrong = int(scored.wrong.sum())
    if not wrong:
        message = f"Expected mistakes to sort, but the model gets all {len(scored.labels)} images right."
        raise InputError(message)
    if wrong == len(scored.labels):
        message = (
            f"Expected correct images to compare mistakes with, but the model gets all {wrong} images wrong: "
            "check labels and classes, which must have the same numbers as the classes of the model."
        )
        raise InputError(message)


def _ranks(scored: ScoredImages, known: Tensor) -> tuple[StratifiedRanks, str]:
    """Ranks of mistakes among the right images of their class, or of all classes where too few have one.

    Images whose gradient is 0 in every filter have no share in it of any, and would stand below all others everywhere.
    """
    if left_out := int((~known).sum()):
        message = (
            f"{left_out} of {len(known)} images have a gradient of 0 in every filter, as where the model is so certain "
            "that it underflows, and do not count in the comparison of mistakes with correct images. A copy of the "
            "model in float32 or float64 loses fewer."
        )
        warn_caller(message, FewSamplesWarning)
    share, wrong, labels = scored.profile[known].double(), scored.wrong[known], scored.labels[known]
    if wrong.all() or not wrong.any():
        kind = "correct images" if wrong.all() else "mistakes"
        message = (
            f"Expected {kind} whose gradient is above 0 in some filter, got none. Check the class scores, and take a "
            "copy of the model in float32 or float64."
        )
        raise InputError(message)
    relative = share / share.mean(dim=1, keepdim=True)
    answered = labels[~wrong].unique()
    comparable = int(torch.isin(labels[wrong], answered).sum())
    if 2 * comparable >= int(wrong.sum()):
        return stratified_ranks(relative, wrong, labels), "classes"
    message = (
        f"{comparable} of {int(wrong.sum())} mistakes have a right image of their class, so all are compared with "
        "right images of all classes. Give more images of each class."
    )
    warn_caller(message, FewSamplesWarning)
    return stratified_ranks(relative, wrong, torch.zeros_like(labels)), "all images"
