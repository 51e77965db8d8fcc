"""From mistakes to a change of few filters that is proven on images that took no part."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from captum_paramsal.errors import InputError, InterventionError, LayerError
from captum_paramsal.files import Fingerprint
from captum_paramsal.filters import Filter
from captum_paramsal.hooks import Output, scored_model
from captum_paramsal.profiles import FilterParameters, FilterProfile
from captum_paramsal.reference import Reference
from captum_paramsal.repair.cures.attempts import Attempt, Attempts, CureSettings
from captum_paramsal.repair.cures.changeable import ANY, KINDS, Changeable, norm_of, write
from captum_paramsal.repair.cures.division import LEAST_MISTAKES, CureImages
from captum_paramsal.repair.cures.result import Cure
from captum_paramsal.repair.cures.verdict import Verdict
from captum_paramsal.repair.treatment.patch import Patch
from captum_paramsal.repair.treatment.weights import trainable_copy
from captum_paramsal.triage import rank_suspects

_RIGHT = 300
"""Right images that filters are ranked by: more hardly change what is usual."""


def cure(
    model: nn.Module,
    mistakes: Iterable[Any],
    keep: Iterable[Any],
    *,
    filters: Sequence[Filter] | None = None,
    reference: Reference | None = None,
    settings: CureSettings | None = None,
    alternatives: bool = False,
    output: Output | None = None,
    show_progress: bool = True,
) -> Cure:
    """Change few filters so that a group of mistakes goes away and nothing else breaks.

    Mistakes and right images are divided at random: half to learn from, a fifth to choose by, the rest to judge by. The
    weights and biases of the filters, and their factors and offsets in the batch norms after them, or what else the
    settings name, are changed by Adam, and nothing beside them nor what requires no gradient, down

    ``mean cross entropy of the mistakes + keep * mean cross entropy of the right images``

    Of filters the first is tried alone, and then all of them; where both cure as many, the first alone is taken. Of the
    states on the way, and of parts of each change down to a quarter, the one is chosen that cures most of the choosing
    mistakes and breaks at most six tenths of the share of the choosing right images that the rule allows, where images
    near the border count in part (:func:`captum_paramsal.functional.soft_right`). It is judged once, on images that
    neither taught nor chose it, by a rule that is fixed before (:class:`captum_paramsal.repair.AcceptanceRule`). If it
    is refused, there is no patch. The model is left as it is.

    Args:
        model: A classifier that returns class scores ``(N, C)``; left as it is.
        mistakes: Batches (inputs, labels) of images that the model gets wrong, such as a group of a triage, read once
            and kept in memory; those that it gets right are left out, and named in ``parts``.
        keep: The same of images that must stay right; those that it gets wrong are left out. As many as there are: of
            fewer than 200 that judge, not one may break by the usual rule.
        filters: Which filters are changed; by default the first by :func:`captum_paramsal.triage.rank_suspects` of the
            images that are learnt from.
        reference: What the filters usually do, for that ranking; by default, what they do in the right images that are
            learnt from.
        settings: What is changed, steps, strengths, the rule.
        alternatives: Spend the same budget on the others of filters, whole network, last layer and norms, and on random
            filters, too.
        output: What makes class scores ``(N, C)`` of what the model returns, where it returns something else than
            these or ``logits``.
        show_progress: Show a progress bar over the steps.

    Raises:
        InputError: No images, or none of them right, or images that the model cannot take; or ``filters`` where the
            settings change something else.
        TargetError: The labels do not name one class per image.
        InterventionError: The model does not have one of the ``filters``, or one is given twice.
        ReferenceMismatchError: The reference was taken on other weights or layers.
        TreatmentError: The model cannot be copied, or the loss is not finite.

    References:
        For the division and the rule, ``docs/methods/cure.md``.

    Example:
        >>> from captum_paramsal.demo import load_model, load_scenes, normalize
        >>> scenes = load_scenes("test")
        >>> everything = [(normalize(scenes.images), scenes.labels)]
        >>> quick = CureSettings(steps=10, batch_size=8, ablations=10)
        >>> found = cure(load_model(), everything, everything, settings=quick, show_progress=False)
        >>> found.verdict.status in {"kept", "refused", "too few"}
        True
    """
    settings = settings or CureSettings()
    if filters is not None and settings.change != "filters":
        message = f"Expected `filters` only where filters are changed, got {len(filters)} and {settings.change!r}."
        raise InputError(message)
    original = scored_model(model)
    images = CureImages.of(scored_model(model, output), mistakes, keep, settings.seed)
    context = {
        "model": Fingerprint.of(original).short,
        "settings": asdict(settings),
        "mistakes": len(images.mistakes),
        "keep": len(images.keep),
        "changed": settings.change,
        "numbers": 0,
        "size": 0.0,
    }
    if len(images.mistakes) < LEAST_MISTAKES:
        return _too_few(images, context)
    refused = ""
    if filters is None:
        filters = []
        if alternatives or settings.change in ("filters", ANY):
            filters, refused = _suspects_if_possible(
                model, images, settings, reference, output, show_progress=show_progress
            )
    with torch.inference_mode(mode=False), torch.enable_grad():
        copied = trainable_copy(original)
        parameters = FilterParameters(copied, bias=True, batch_norm=bool(filters), inputs=images.keep.learn.inputs[:1])
        tried = ways(parameters, images, filters, settings, output, alternatives=alternatives, refused=refused)
        attempted = {one for several in tried.values() for one in several if one.count}
        with tqdm(total=settings.steps * len(attempted), desc="cure", unit="step", disable=not show_progress) as bar:
            attempts = Attempts(scored_model(copied, output), images, settings, bar)
            wanted, *rest = tried.items()
            first = attempts.with_changes(*wanted)
            # What was chosen of any is its own alternative no more.
            others = [attempts.with_changes(*one) for one in rest if one[0] != first.name]
    context |= {"changed": first.name, "numbers": first.numbers, "size": first.size}
    if first.name != "filters":
        filters = []
    changes = _changes(parameters, first, filters)
    about = {
        "made by": "cure",
        "filters": [str(one) for one in filters],
        "verdict": first.verdict.reason,
        **context,
    }
    write(dict(copied.named_parameters()), first.values)
    patch = Patch.between(original, copied, about) if first.verdict.status == "kept" else None
    return Cure(patch, first.verdict, tuple(filters), changes, tuple(others), images.parts, context, first.predicted)


def _too_few(images: CureImages, context: dict[str, Any]) -> Cure:
    right = len(images.left_out["mistakes"])
    beside = f" beside {right} that are right already" if right else ""
    reason = (
        f"Too few: {len(images.mistakes)} mistakes{beside}, and at least {LEAST_MISTAKES} are needed, so that some can "
        "judge what others taught."
    )
    none = Verdict.without_judges("too few", reason)
    return Cure(None, none, (), torch.zeros(0, dtype=torch.float64), (), images.parts, context)


def suspects(
    model: nn.Module,
    images: CureImages,
    settings: CureSettings,
    reference: Reference | None = None,
    output: Output | None = None,
    *,
    show_progress: bool,
) -> list[Filter]:
    """The first filters by the mistakes and right images that are learnt from."""
    wrong, right = images.mistakes.learn, images.keep.learn[:_RIGHT]
    found = rank_suspects(
        model,
        *(wrong.inputs, wrong.labels, right.inputs, right.labels),
        reference=reference,
        ablations=settings.ablations,
        internal_batch_size=settings.batch_size,
        output=output,
        show_progress=show_progress,
    )
    return _first_trainable(FilterParameters(model), found.top(len(found.filters)), settings.count)


def _first_trainable(parameters: FilterParameters, ranked: Iterable[Filter], count: int) -> list[Filter]:
    """The first filters whose weights are not frozen; of a model without any, the first of all."""
    ranked = list(ranked)
    trainable = (one for one in ranked if not _is_frozen(parameters, one))
    return list(islice(trainable, count)) or ranked[:count]


def _is_frozen(parameters: FilterParameters, one: Filter) -> bool:
    try:
        return not any(part.parameter.requires_grad for part in parameters.of(one))
    except InterventionError:
        # What cannot be changed for another reason is refused with that.
        return False


def _suspects_if_possible(
    model: nn.Module,
    images: CureImages,
    settings: CureSettings,
    reference: Reference | None,
    output: Output | None,
    *,
    show_progress: bool,
) -> tuple[list[Filter], str]:
    """The same, or none and why, where their weights are computed for each pass and something else can be changed."""
    try:
        return suspects(model, images, settings, reference, output, show_progress=show_progress), ""
    except InterventionError as error:
        if settings.change == "filters":
            raise
        return [], str(error)


def ways(
    parameters: FilterParameters,
    images: CureImages,
    filters: Sequence[Filter],
    settings: CureSettings,
    output: Output | None = None,
    *,
    alternatives: bool = True,
    refused: str = "",
) -> dict[str, list[Changeable]]:
    """What is changed, by name, and what else the same budget can be spent on; of several, one is chosen.

    Args:
        parameters: Of the model that is changed.
        images: What it is changed for.
        filters: That are changed.
        settings: How.
        output: What makes class scores of what the model returns.
        alternatives: All, not only what the settings name.
        refused: Why there are no ``filters``.
    """

    def of_filters(some: Sequence[Filter], name: str) -> list[Changeable]:
        if refused:
            return [Changeable(name, {}, refused=refused)]
        try:
            return _of_filters(parameters, some, name)
        except InterventionError as error:
            if name == settings.change:
                raise
            return [Changeable(name, {}, refused=str(error))]

    wanted = KINDS if alternatives or settings.change == ANY else (settings.change,)
    of_kind = {
        kind: of_filters(filters, kind) if kind == "filters" else [_all_of_kind(parameters, images, kind)]
        for kind in wanted
    }
    first = [one for kind in wanted for one in of_kind[kind]] if settings.change == ANY else of_kind[settings.change]
    # What cannot be changed is left out of any, and has a row that says why.
    tried = {settings.change: first} | {one.name: [one] for one in first if settings.change == ANY and one.refused}
    if alternatives:
        tried |= {kind: of_kind[kind] for kind in KINDS if kind != settings.change}
        drawn = _random_filters(parameters, filters, settings, output)
        tried["random filters"] = of_filters(drawn, "random filters")
    return tried


def _all_of_kind(parameters: FilterParameters, images: CureImages, kind: str) -> Changeable:
    """The numbers of one of ``KINDS`` but of filters."""
    if kind == "last layer":
        return Changeable.last_layer(parameters.model, classes=images.keep.learn.scores.shape[1])
    return Changeable.norms(parameters.model) if kind == "norms" else Changeable.whole_network(parameters.model)


def _of_filters(parameters: FilterParameters, filters: Sequence[Filter], name: str) -> list[Changeable]:
    """The first filter alone, since fewer numbers break less where it is the one, and all of them."""
    parts = [filters[:1], filters] if len(filters) > 1 else [filters]
    return [Changeable.of_filters(parameters, part, name) for part in parts]


def _random_filters(
    parameters: FilterParameters, filters: Sequence[Filter], settings: CureSettings, output: Output | None
) -> list[Filter]:
    """As many of all filters."""
    try:
        every = list(FilterProfile(parameters.model, output=output).filters)
    except LayerError:
        # Without default layers, those of the filters that were given.
        layers = list(dict.fromkeys(one.layer for one in filters))
        every = list(FilterProfile(parameters.model, layers, output=output).filters)
    order = torch.randperm(len(every), generator=torch.Generator().manual_seed(settings.seed))
    return _first_trainable(parameters, (every[place] for place in order.tolist()), len(filters))


def _changes(parameters: FilterParameters, made: Attempt, filters: Sequence[Filter]) -> Tensor:
    """Norm of each filter's change as a share of the norm of its numbers."""
    names = {id(parameter): name for name, parameter in parameters.model.named_parameters()}
    rows = []
    for slices in parameters.every(filters):
        old = [part.of(part.parameter.detach()) for part in slices]
        new = [part.of(made.values.get(names[id(part.parameter)], part.parameter.detach())) for part in slices]
        moved, whole = norm_of(b - a for a, b in zip(old, new, strict=True)), norm_of(old)
        rows.append(moved / whole if whole else float("inf") if moved else 0.0)
    return torch.tensor(rows, dtype=torch.float64)
