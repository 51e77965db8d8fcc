"""Evidence in feature maps for classes of each image, as something that a loss can be made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from captum_paramsal.errors import InputError, LayerError
from captum_paramsal.functional import (
    Reduce,
    averaged_evidence,
    channel_penalty,
    foreground_at,
    labels_of,
    scores_at,
    space_penalty,
    strongest_wrong_class,
)
from captum_paramsal.hooks import require_twice_differentiable

First: TypeAlias = Literal["label", "predicted"]
"""Class whose irrelevant channels should have no evidence: the label, as in the program, or the prediction."""

Second: TypeAlias = Literal["masked", "all"]
"""Which channels should be no evidence for the wrong class: its relevant ones, as in the program, or all of them."""

Rival: TypeAlias = Literal["wrong", "runner-up"]
"""Class of the second term: the most probable wrong one, as in the program, or the second most confident, the paper's.

They differ for an image that is mistaken: its prediction is the most probable wrong class, and the second most
confident may be the label.
"""

Copies: TypeAlias = Sequence[tuple[Tensor, Tensor]]
"""Scores and maps of each perturbed copy, in the shapes of those that are not perturbed."""

Part: TypeAlias = Literal["output", "attention"]
"""What of a layer is constrained: its output, or the shares in which it mixes tokens."""

_WORDS = {
    "first": ("label", "predicted"),
    "second": ("masked", "all"),
    "rival": ("wrong", "runner-up"),
    "reduce": ("abs", "relu"),
    "score": ("logit", "probability"),
    "part": ("output", "attention"),
}


@dataclass(frozen=True, eq=False)
class ClassEvidence:
    """Evidence in maps for classes of each image; gradients are taken when they are first asked for.

    Attributes:
        scores: ``(B, C)``, in a graph.
        maps: That the scores depend on, ``(B, K, H, W)``, or of another shape that ``laid_out`` knows.
        labels: ``(B,)``.
        reduce: What of a gradient counts.
        multiply_by_inputs: Whether gradients are taken times the maps.
        laid_out: From evidence in the shape of the maps to ``(B, K, H, W)``; None where it has that shape.
        copies: Perturbed copies whose evidence is averaged, in the place of that of the maps as they are.

    Raises:
        InputError: The shapes do not fit, or scores are in no graph.
        TargetError: ``labels`` do not name one class per image.
    """

    scores: Tensor
    maps: Tensor
    labels: Tensor
    reduce: Reduce
    multiply_by_inputs: bool
    laid_out: Callable[[Tensor], Tensor] | None = None
    copies: Copies = ()
    _known: dict[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        scores, maps = self.scores, self.maps
        fits = len(maps) == len(scores) and (maps.ndim == 4 or self.laid_out is not None)
        if scores.ndim != 2 or scores.shape[1] < 2 or not fits:
            message = (
                "Expected `scores` (B, C) of two classes or more and `maps` (B, K, H, W) of as many images, got "
                f"{tuple(scores.shape)} and {tuple(maps.shape)}."
            )
            raise InputError(message)
        _require_graph(scores, maps)
        for number, (of_copy, perturbed) in enumerate(self.copies):
            if (of_copy.shape, perturbed.shape) != (scores.shape, maps.shape):
                message = (
                    f"Expected `copies` with scores {tuple(scores.shape)} and maps {tuple(maps.shape)}, got "
                    f"{tuple(of_copy.shape)} and {tuple(perturbed.shape)} for copy {number}."
                )
                raise InputError(message)
            _require_graph(of_copy, perturbed)
        rows = labels_of(self.labels, len(scores))
        if rows is None or rows.shape[1] != 1:
            message = f"Expected `labels` (B,), got {self.labels!r}."
            raise InputError(message)
        object.__setattr__(self, "labels", scores_at(scores, rows)[1])

    def classes(self, which: str) -> Tensor:
        """Class of each image, ``(B,)``.

        Its "label", the one "predicted", the strongest "wrong" one, or the "runner-up", the second most probable.
        """
        if which == "label":
            return self.labels
        if which == "predicted":
            return self.scores.detach().argmax(dim=1)
        return strongest_wrong_class(self.scores, self.labels if which == "wrong" else self.classes("predicted"))

    def of(self, which: str) -> Tensor:
        """Evidence for that class of each image, ``(B, K, H, W)``, in the graph.

        Raises:
            LayerError: The scores do not depend on the maps.
        """
        if which not in self._known:
            classes = self.classes(which)
            gradients = [_gradients(*copy, classes) for copy in self.copies or ((self.scores, self.maps),)]
            evidence = averaged_evidence(
                gradients, self.maps, reduce=self.reduce, multiply_by_inputs=self.multiply_by_inputs
            )
            self._known[which] = evidence if self.laid_out is None else self.laid_out(evidence)
        return self._known[which]

    def channel_penalty(self, relevant: Tensor, first: First, second: Second, rival: Rival = "wrong") -> Tensor:
        """Evidence of each image in channels that should have none, ``(B,)``.

        Raises:
            InputError: ``relevant`` is not ``(C, K)`` bool.
        """
        require_relevant(relevant)
        expected = self.scores.shape[1], self.of(first).shape[1]
        if relevant.shape != expected:
            message = f"Expected `relevant` (classes, channels) of shape {expected}, got {tuple(relevant.shape)}."
            raise InputError(message)
        relevant = relevant.to(self.maps.device)
        of_rival = relevant[self.classes(rival)]
        misleading = torch.ones_like(of_rival) if second == "all" else of_rival
        # Of a class without any relevant channel nothing is known: none of its images was looked at.
        of_first = relevant[self.classes(first)]
        silent = ~of_first & of_first.any(dim=1, keepdim=True)
        return channel_penalty(self.of(first), silent) + channel_penalty(self.of(rival), misleading)

    def space_penalty(self, foreground: Tensor) -> Tensor:
        """Evidence of each image for its label in the background, ``(B,)``.

        Raises:
            InputError: ``foreground`` is not ``(B, h, w)`` in [0, 1].
        """
        if foreground.ndim != 3 or len(foreground) != len(self.maps) or not foreground.numel():
            message = (
                f"Expected `foreground` (B, h, w) with one mask for each of {len(self.maps)} images, got shape "
                f"{tuple(foreground.shape)}."
            )
            raise InputError(message)
        values = foreground.detach().to(self.maps)
        low, high = torch.aminmax(values)
        if not (low >= 0 and high <= 1):
            message = f"Expected `foreground` in [0, 1], got values from {low.item():g} to {high.item():g}."
            raise InputError(message)
        evidence = self.of("label")
        height, width = evidence.shape[2:]
        return space_penalty(evidence, foreground_at(values, (height, width)))


def _gradients(scores: Tensor, maps: Tensor, classes: Tensor) -> Tensor:
    """Gradient of each image's score for its class, in the graph.

    Raises:
        LayerError: The scores do not depend on the maps.
        ModelError: A function between both is differentiable once only.
    """
    # The sum over images keeps them apart; a mean would divide every image's gradient by their number.
    total = scores.gather(1, classes.unsqueeze(1)).sum()
    # Gradients go only from the scores back to the maps, and their graph no deeper.
    (gradients,) = torch.autograd.grad(total, maps, create_graph=True, allow_unused=True)
    if gradients is None:
        message = "Expected `scores` that depend on `maps`, got ones that do not. Choose another layer."
        raise LayerError(message)
    require_twice_differentiable(gradients)
    return gradients


def _require_graph(scores: Tensor, maps: Tensor) -> None:
    if not (scores.requires_grad and maps.requires_grad):
        message = (
            "Expected `scores` and `maps` that are in a graph, got "
            f"{'scores' if maps.requires_grad else 'maps'} that are not. Run the model with gradients on."
        )
        raise InputError(message)


def require_relevant(relevant: Tensor) -> None:
    """Refuse what is no table of classes and channels.

    Raises:
        InputError: ``relevant`` is not a tensor of bool with two dimensions.
    """
    if not isinstance(relevant, Tensor) or relevant.ndim != 2 or relevant.dtype != torch.bool:
        got = f"{relevant.dtype} of shape {tuple(relevant.shape)}" if isinstance(relevant, Tensor) else repr(relevant)
        message = f"Expected `relevant` (classes, channels), a tensor of bool, got {got}."
        raise InputError(message)


def require_choices(**chosen: str) -> None:
    """Refuse words that are no options.

    Raises:
        InputError: A word is not among the choices of its option.
    """
    for name, value in chosen.items():
        if value not in _WORDS[name]:
            message = f"Expected `{name}` to be {' or '.join(map(repr, _WORDS[name]))}, got {value!r}."
            raise InputError(message)
