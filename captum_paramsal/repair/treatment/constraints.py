"""The two constraints of Model Doctor as losses: on channels, and on places."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from captum_paramsal.doctor.evidence import EvidenceSettings
from captum_paramsal.doctor.layer_pass import Score
from captum_paramsal.errors import InputError
from captum_paramsal.functional import Noise, Reduce
from captum_paramsal.repair.treatment.class_evidence import (
    ClassEvidence,
    Copies,
    First,
    Part,
    Rival,
    Second,
    require_choices,
    require_relevant,
)


def channel_constraint(
    scores: Tensor,
    maps: Tensor,
    labels: Tensor,
    relevant: Tensor,
    *,
    first: First = "label",
    second: Second = "masked",
    rival: Rival = "wrong",
    reduce: Reduce = "abs",
    multiply_by_inputs: bool = False,
    copies: Copies = (),
) -> Tensor:
    """Evidence in channels that should have none, to be added to a loss.

    With G_n(k, h, w) = abs(dz_n / dm), y the label of an image, s its rival class and r the relevant channels: the mean
    over images of sum_k (1 - r(y, k)) sum_hw G_y + sum_k r(s, k) sum_hw G_s. The gradients are those of each image's
    own score, so that the size of the batch does not matter; they stay in the graph, for without it the constraint
    would be a constant. A batch norm in training mode between maps and scores mixes the images.

    Args:
        scores: Class scores, ``(B, C)``, in a graph; the logits in the paper.
        maps: Feature maps, ``(B, K, H, W)``, that the scores depend on.
        labels: ``(B,)``.
        relevant: r, ``(C, K)`` bool: which channels are evidence for which class. A class without any, of which
            nothing is known, silences none.
        first: Class of the first term: "label" (the authors' program) or "predicted" (the paper).
        second: Channels of the second term: "masked", r(s, k) (the program), or "all", 1 for every channel (the paper).
        rival: Class s of the second term: "wrong", the most probable wrong class (the program), or "runner-up", the
            second most confident one (the paper), which may be the label of a mistake.
        reduce: "abs" for abs(dz / dm) (the paper), "relu" for its positive part (the program).
        multiply_by_inputs: Take dz / dm · m in the place of dz / dm.
        copies: Scores and maps of J perturbed copies, for each (scores, maps) in a graph; G is then the mean over
            them (the paper), and tells the classes by the scores that are not perturbed.

    Returns:
        ``()``.

    Raises:
        InputError: A shape or an option does not fit, or the scores are in no graph.
        TargetError: ``labels`` do not name one class per image.
        LayerError: The scores do not depend on the maps.

    References:
        Feng et al., Model Doctor, AAAI 2022, arXiv 2112.04934, channel-wise constraint.

    >>> maps = torch.ones(2, 3, 4, 4, requires_grad=True)
    >>> scores = maps.mean(dim=(2, 3)) @ torch.tensor([[1.0, 0.0], [0.5, 1.0], [0.0, -2.0]])
    >>> relevant = torch.tensor([[True, False, False], [False, True, False]])
    >>> channel_constraint(scores, maps, torch.tensor([0, 0]), relevant)
    tensor(1.5000)
    """
    require_choices(first=first, second=second, rival=rival, reduce=reduce)
    evidence = ClassEvidence(scores, maps, labels, reduce, multiply_by_inputs, copies=copies)
    return evidence.channel_penalty(relevant, first, second, rival).mean()


def space_constraint(
    scores: Tensor,
    maps: Tensor,
    labels: Tensor,
    foreground: Tensor,
    *,
    reduce: Reduce = "abs",
    multiply_by_inputs: bool = False,
    copies: Copies = (),
) -> Tensor:
    """Evidence for the label in the background, to be added to a loss.

    The mean over images of sum_khw (1 - f(h, w)) abs(dz_y / dm), with f the foreground at the resolution of the maps:
    the share of foreground among the pixels that a place stands for.

    Args:
        scores: Class scores, ``(B, C)``, in a graph; the logits in the paper.
        maps: Feature maps, ``(B, K, H, W)``, that the scores depend on.
        labels: ``(B,)``.
        foreground: f, ``(B, h, w)`` in [0, 1], of any resolution; 1 everywhere for an image without annotation.
        reduce: "abs" for abs(dz / dm) (the paper), "relu" for its positive part.
        multiply_by_inputs: Take dz / dm · m in the place of dz / dm.
        copies: As in :func:`channel_constraint`.

    Returns:
        ``()``.

    Raises:
        InputError: A shape or an option does not fit, ``foreground`` is not in [0, 1], or the scores are in no graph.
        TargetError: ``labels`` do not name one class per image.
        LayerError: The scores do not depend on the maps.

    References:
        Feng et al., Model Doctor, AAAI 2022, arXiv 2112.04934, space-wise constraint.

    >>> maps = torch.ones(1, 3, 1, 2, requires_grad=True)
    >>> scores = maps.sum(dim=(2, 3)) @ torch.ones(3, 2)
    >>> space_constraint(scores, maps, torch.tensor([0]), torch.tensor([[[1.0, 0.5]]]))
    tensor(1.5000)
    """
    require_choices(reduce=reduce)
    evidence = ClassEvidence(scores, maps, labels, reduce, multiply_by_inputs, copies=copies)
    return evidence.space_penalty(foreground).mean()


@dataclass(frozen=True, eq=False)
class Constraints:
    """Which constraints a treatment has on a layer, and how strong they are.

    Attributes:
        layer: Name of the layer whose feature maps are constrained: maps ``(N, K, H, W)``, maps with channels last,
            tokens of a map (a class token apart), or attention.
        relevant: Which channels are evidence for which class, ``(C, K)`` bool; None for no channel constraint.
        channel: Strength of the channel constraint; 0 leaves it out.
        space: Strength of the space constraint; 0 leaves it out.
        first: Class of the channel constraint's first term, see :func:`channel_constraint`.
        second: Channels of its second term.
        rival: Class of its second term.
        reduce: What of a gradient counts.
        multiply_by_inputs: Whether gradients are taken times the maps.
        score: What the gradients are those of: the logit or the softmax probability of a class.
        relative: Whether a strength s means that the constraint is added with s times the weight that makes it as
            large as the loss before the treatment; else it is the weight itself. The authors' program takes weights of
            10 under an extra 1 / B, for B = 128 images a weight of 0.08 here.
        part: "output" of the layer, or "attention": the shares A in which it mixes tokens, see :meth:`of_attention`.
        noise_samples: Perturbed copies of the maps, J, that gradients are averaged over; 0 for the maps as they are.
            Each takes another forward pass in every step. The copies are those of
            :class:`~captum_paramsal.ModelDoctor`: the same for every image and step.
        noise_range: Bound of the uniform noise, or standard deviation of the normal one, in units of the maps.
        noise: "uniform" or "normal".
        seed: Fixes the noise.

    Raises:
        InputError: A value is outside its range, the only constraint has no ``relevant`` channels, or shares of
            attention are to be perturbed.
    """

    layer: str
    relevant: Tensor | None = None
    channel: float = 1.0
    space: float = 1.0
    first: First = "label"
    second: Second = "masked"
    reduce: Reduce = "abs"
    multiply_by_inputs: bool = False
    score: Score = "logit"
    relative: bool = True
    part: Part = "output"
    rival: Rival = "wrong"
    noise_samples: int = 0
    noise_range: float = 0.1
    noise: Noise = "uniform"
    seed: int = 0

    def __post_init__(self) -> None:
        choices = ("first", "second", "rival", "reduce", "score", "part")
        require_choices(**{name: getattr(self, name) for name in choices})
        for name, strength in (("channel", self.channel), ("space", self.space)):
            if not isfinite(strength) or strength < 0:
                message = f"Expected the strength `{name}` to be a number from 0 on, got {strength!r}."
                raise InputError(message)
        if self.relevant is not None:
            require_relevant(self.relevant)
        elif self.channel and not self.space:
            message = "Expected `relevant` (classes, channels) for the channel constraint, got None."
            raise InputError(message)
        if self.perturbed.noise_samples and self.part == "attention":
            message = (
                f"Expected `noise_samples` of 0 for shares of attention, got {self.noise_samples}: perturbed shares "
                "would not sum to 1. Constrain the output of the layer instead."
            )
            raise InputError(message)

    @classmethod
    def of(cls, diagnosis: _Diagnosis, threshold: float | Literal["mean"] = 0.2, **options: Any) -> Constraints:
        """The constraints that follow from a diagnosis.

        Args:
            diagnosis: What the classes rely on; its layer, relevant channels and kind of gradient are taken.
            threshold: From which normalized correlation on a channel is relevant to a class.
            **options: Other attributes, or ones to have otherwise.

        Raises:
            InputError: See the class.
        """
        taken = {name: diagnosis.settings[name] for name in ("reduce", "multiply_by_inputs", "score")}
        return cls(**{"layer": diagnosis.layer, "relevant": diagnosis.relevant(threshold), **taken, **options})

    @classmethod
    def of_attention(cls, layer: str, space: float = 1.0, **options: Any) -> Constraints:
        """No evidence in the shares of background tokens, for a transformer.

        With A the shares ``(heads, T, S)`` of an attention layer, the evidence for the label is
        sum_t A(h, t, s) · max(0, dz_y / dA(h, t, s)) in head h for token s, a place of the map that the tokens were
        made of; a class token has none, since it is no place. The constraint is that evidence in the background.

        Args:
            layer: Name of the attention layer: the innermost one around its softmax, such as ``"blocks.11.attn"``.
            space: Strength of the constraint.
            **options: Other attributes. With ``relevant`` ``(classes, heads)`` and a strength ``channel`` above 0,
                heads take the place of channels.

        Raises:
            InputError: See the class.

        References:
            Hu et al., Transformer Doctor: Diagnosing and Treating Vision Transformers, NeurIPS 2024 (evidence in
            dynamic integration). What is done with it here is the space constraint of Model Doctor.

        >>> Constraints.of_attention("blocks.11.attn").strengths
        {'space': 1.0}
        """
        taken = {"channel": 0.0, "reduce": "relu", "multiply_by_inputs": True, "part": "attention"}
        return cls(**{"layer": layer, "space": space, **taken, **options})

    @classmethod
    def of_paper(
        cls,
        diagnosis: _Diagnosis,
        space_layers: Sequence[str] = (),
        threshold: float | Literal["mean"] = 0.2,
        **options: Any,
    ) -> tuple[Constraints, ...]:
        """The constraints as the paper has them, to be given to a treatment together.

        The channel constraint on the layer of the diagnosis, for the predicted class and the second most confident
        one, of which every channel should be silent; the space constraint on layers of its own, the last two in the
        paper; gradients averaged over the perturbed copies that the diagnosis was made with.

        Args:
            diagnosis: What the classes rely on.
            space_layers: Layers of the space constraint; that of the diagnosis where there are none.
            threshold: From which normalized correlation on a channel is relevant to a class; the paper names none.
            **options: Other attributes, for all layers. ``channel=0`` or ``space=0`` leaves a constraint out.

        Raises:
            InputError: See the class, or a layer is named twice.

        >>> from types import SimpleNamespace
        >>> evidence = {"reduce": "abs", "multiply_by_inputs": False, "score": "logit"}
        >>> settings = evidence | {"noise_samples": 10, "noise_range": 0.1, "noise": "uniform", "seed": 0}
        >>> diagnosis = SimpleNamespace(layer="layer4", settings=settings, relevant=lambda _: torch.ones(2, 3) > 0)
        >>> [(one.layer, one.strengths) for one in Constraints.of_paper(diagnosis, ("layer3", "layer4"))]
        [('layer4', {'channel': 1.0, 'space': 1.0}), ('layer3', {'space': 1.0})]
        """
        if isinstance(space_layers, str) or len(set(space_layers)) != len(space_layers):
            message = f"Expected `space_layers` to be names of layers, each once, got {space_layers!r}."
            raise InputError(message)
        noise = {name: diagnosis.settings[name] for name in ("noise_samples", "noise_range", "noise", "seed")}
        given = {"first": "predicted", "second": "all", "rival": "runner-up", **noise, **options}
        last = given if not space_layers or diagnosis.layer in space_layers else {**given, "space": 0.0}
        rest = [layer for layer in space_layers if layer != diagnosis.layer]
        first = cls.of(diagnosis, threshold, **last)
        others = [
            cls.of(diagnosis, threshold, **{**given, "layer": layer, "relevant": None, "channel": 0.0})
            for layer in rest
        ]
        return tuple(each for each in (first, *others) if each.strengths)

    @property
    def perturbed(self) -> EvidenceSettings:
        """How the perturbed copies are made.

        Raises:
            InputError: A value is outside its range.
        """
        return EvidenceSettings(self.noise_samples, self.noise_range, self.noise, seed=self.seed)

    @property
    def strengths(self) -> dict[str, float]:
        """Strength of each constraint that is not left out, by name."""
        channel = 0.0 if self.relevant is None else float(self.channel)
        return {name: value for name, value in (("channel", channel), ("space", float(self.space))) if value}

    def on(self, device: torch.device) -> Constraints:
        """The same, with its tensor on a device."""
        return self if self.relevant is None else replace(self, relevant=self.relevant.to(device))

    def penalties(
        self,
        scores: Tensor,
        maps: Tensor,
        labels: Tensor,
        foreground: Tensor | None = None,
        *,
        laid_out: Callable[[Tensor], Tensor] | None = None,
        copies: Copies = (),
    ) -> dict[str, Tensor]:
        """The constraints of a batch, ``()`` each and without their strengths, by name; gradients are taken once.

        Args:
            scores: Logits, ``(B, C)``, in a graph.
            maps: Feature maps, ``(B, K, H, W)``, that the scores depend on.
            labels: ``(B,)``.
            foreground: ``(B, h, w)`` in [0, 1]; None where no image is annotated.
            laid_out: For values of another shape than maps, such as tokens: from evidence in that shape to
                ``(B, K, H, W)``.
            copies: As in :func:`channel_constraint`.

        Raises:
            InputError, TargetError, LayerError: As in :func:`channel_constraint` and :func:`space_constraint`.
        """
        if self.score == "probability":
            scores = scores.softmax(dim=1)
            copies = [(of_copy.softmax(dim=1), perturbed) for of_copy, perturbed in copies]
        evidence = ClassEvidence(scores, maps, labels, self.reduce, self.multiply_by_inputs, laid_out, copies)
        terms: dict[str, Tensor] = {}
        if "channel" in self.strengths and self.relevant is not None:
            terms["channel"] = evidence.channel_penalty(self.relevant, self.first, self.second, self.rival).mean()
        if "space" in self.strengths:
            terms["space"] = maps.new_zeros(()) if foreground is None else evidence.space_penalty(foreground).mean()
        return terms


class _Diagnosis(Protocol):
    """What :class:`Constraints` can be made of."""

    @property
    def layer(self) -> str: ...

    @property
    def settings(self) -> Mapping[str, Any]: ...

    def relevant(self, threshold: Any = ...) -> Tensor: ...
