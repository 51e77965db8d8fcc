"""What every method that scores filters shares: the call, as Captum has it, and the profile behind it."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from captum.attr import Attribution
from captum.log import log_usage
from torch import Tensor, nn

from captum_paramsal.batch import Inputs
from captum_paramsal.filters import FilterIndex
from captum_paramsal.functional import Loss, Target, cross_entropy
from captum_paramsal.profiles import FilterProfile, LayerSelection
from captum_paramsal.reference import Reference


class FilterAttribution(Attribution):  # type: ignore[misc] # Captum is not typed strictly
    """A method that gives every filter a score for every image, from the image's saliency profile.

    Args:
        model: A classifier that returns class scores ``(N, C)``; left as it is.
        reference: Statistics of the reference set; None for methods that need none.
        layers: Layers to score: names, glob patterns, modules or layer types. By default those of the reference, or
            every convolution except one whose channels are the class scores.
        loss: Loss per example, ``(logits (N, C), labels (N,)) -> (N,)``.

    Raises:
        ReferenceMismatchError: The reference was taken on other weights, other layers or another loss.
        LayerError: ``layers`` selects nothing, or the model has no filter layer.
    """

    def __init__(
        self,
        model: nn.Module,
        reference: Reference | None = None,
        *,
        layers: LayerSelection | None = None,
        loss: Loss = cross_entropy,
    ) -> None:
        super().__init__(model)
        chosen = reference.filters if layers is None and reference is not None else layers
        self.profile = FilterProfile(model, chosen, loss)
        self.reference = reference
        if reference is not None:
            reference.check_profile(self.profile)

    @property
    def model(self) -> nn.Module:
        """The scored model, unwrapped."""
        return self.profile.model

    @property
    def filters(self) -> FilterIndex:
        """What each column of the scores belongs to."""
        return self.profile.filters

    @property
    def multiplies_by_inputs(self) -> bool:
        """Always False, since scores belong to filters and not to inputs."""
        return False

    @abstractmethod
    def score(self, profile: Tensor) -> Tensor:
        """Scores of profiles ``(N, F)``, each row from itself alone; differentiable."""

    @log_usage()  # type: ignore[untyped-decorator]
    def attribute(
        self,
        inputs: Inputs,
        target: Target = None,
        additional_forward_args: Any = None,
        internal_batch_size: int | None = None,
        show_progress: bool = False,  # noqa: FBT001, FBT002 -- Captum's signature
    ) -> Tensor | tuple[Tensor, ...]:
        """Score every filter for every image.

        Args:
            inputs: Images, ``(N, C, H, W)``, or a tuple of what the model takes, N examples each.
            target: Class whose loss is explained, the true one for a mistake: an int, a tensor or list of N classes, a
                tuple ``(class, *place)`` or a list of N tuples for outputs ``(N, C, ...)``; None takes the model's
                prediction.
            additional_forward_args: Further arguments of the model; tensors with N rows go with their images.
            internal_batch_size: Images per forward and backward pass; bounds memory, not the result.
            show_progress: Show a progress bar over these passes.

        Returns:
            ``(N, F)`` scores in the order of ``self.filters`` (in a tuple of one if ``inputs`` is a tuple), in the unit
            that the class names; higher is more salient. A filter that never varied over the reference set is never
            ranked first.

        Raises:
            TargetError: ``target`` does not name one class per image.
            InputError: An empty batch, a shape that the model cannot take, inputs or losses that are not finite.
            LayerError: A layer that was asked for is never reached in the forward pass.
        """
        profile = self.profile(
            inputs, target, additional_forward_args, internal_batch_size, show_progress=show_progress
        )
        scores = self.score(profile)
        return (scores,) if isinstance(inputs, tuple) else scores
