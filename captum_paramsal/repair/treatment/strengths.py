"""How much each constraint weighs in the loss, measured before the treatment begins."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import isfinite
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from captum_paramsal.batch import require_gradient
from captum_paramsal.errors import TreatmentError
from captum_paramsal.repair.treatment.constrained_layers import ConstrainedLayers, Term
from captum_paramsal.repair.treatment.training_items import (
    TrainingItem,
    naming,
    require_some,
    same_every_time,
    scores_of,
)

MEASURED_BATCHES = 8
"""Training batches that loss and constraints are measured on; more where a constraint is 0 on all of these."""


def loss_terms(model: nn.Module, batch: TrainingItem, constrained: ConstrainedLayers | None) -> dict[str, Tensor]:
    """Mean cross entropy of a batch and its constraints, without their weights, from one forward pass."""
    if constrained is not None:
        constrained.settle(model, batch)
    scores = require_gradient(scores_of(model, batch), of="trained parameters")
    terms = {"loss": cross_entropy(scores, batch.labels)}
    if constrained is not None:
        terms |= constrained.penalties(model, scores, batch)
    return terms


def measured_weights(
    model: nn.Module, batches: Iterable[Any], constrained: ConstrainedLayers, *key: int | str
) -> dict[str, float]:
    """Weight of each constraint.

    Where strengths are relative, s · L / C, with L the mean loss and C the mean constraint of the model as it is, in
    evaluation mode, over the first batches.

    Args:
        model: The untreated model, put into evaluation mode.
        batches: The training batches.
        constrained: What is asked of which layers.
        key: What the order of the batches depends on.

    Raises:
        InputError: There are no batches, or they do not fit the model or the constraints.
        TreatmentError: A constraint is 0 or does not depend on what is trained, or the loss is 0 or not finite.
    """
    sums = dict.fromkeys(("loss", *constrained.terms), 0.0)
    acts = dict.fromkeys(constrained.terms, False)
    images = 0
    model.eval()
    with constrained.watched(model), same_every_time(batches, model, *key) as checked:
        for number, batch in enumerate(checked):
            if number >= MEASURED_BATCHES and all(acts.values()):
                break
            with naming(number, str(key[0])):
                terms = loss_terms(model, batch, constrained)
                require_finite({name: term.item() for name, term in terms.items()}, "before the treatment")
            images += len(batch.inputs)
            for name, term in terms.items():
                sums[name] += term.item() * len(batch.inputs)
            for name, does in acts.items():
                acts[name] = does or _acts(terms[name], model)
    require_some(images, "training")
    means = {name: total / images for name, total in sums.items()}
    _require_acting(means, acts, constrained.terms)
    return {
        name: term.strength * means["loss"] / means[name] if term.relative else term.strength
        for name, term in constrained.terms.items()
    }


def require_finite(terms: Mapping[str, float], when: str) -> None:
    """Stop where a term of the loss is no longer a number.

    Raises:
        TreatmentError: A term is infinite or NaN.
    """
    if all(map(isfinite, terms.values())):
        return
    got = ", ".join(f"{name} {value:g}" for name, value in terms.items())
    message = (
        f"Expected a finite loss, got {got} {when}. The given model is as it was. Lower the learning rate or the "
        "strengths of the constraints."
    )
    raise TreatmentError(message)


def _acts(term: Tensor, model: nn.Module) -> bool:
    """Whether a constraint changes with anything that is trained."""
    if not term.requires_grad:
        return False
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    gradients = torch.autograd.grad(term, trained, retain_graph=True, allow_unused=True)
    return any(bool(gradient.count_nonzero()) for gradient in gradients if gradient is not None)


def _require_acting(means: Mapping[str, float], acts: Mapping[str, bool], terms: Mapping[str, Term]) -> None:
    for name, does in acts.items():
        if not means[name]:
            why = {
                "channel": "every channel that counts has a gradient of 0",
                "space": "no batch (inputs, labels, foreground) has a background, or its gradients are 0",
            }[terms[name].kind]
            message = (
                f"Expected a {terms[name].kind} constraint above 0, but at layer {terms[name].layer!r} it is 0 on all "
                f"training batches: {why}. Give it what it needs, or leave it out with `{terms[name].kind}=0`."
            )
            raise TreatmentError(message)
        if not does:
            message = (
                f"Expected a {terms[name].kind} constraint that depends on what is trained, but its gradient is 0 "
                f"for every trained parameter: the scores are a fixed function of the maps of {terms[name].layer!r}. "
                "Choose an earlier layer, or train what comes after it."
            )
            raise TreatmentError(message)
    if any(term.relative for term in terms.values()) and not means["loss"]:
        message = (
            "Expected a loss that relative strengths can be measured by, but it is 0 on the training batches. Give "
            "`relative=False` and the weights themselves."
        )
        raise TreatmentError(message)
