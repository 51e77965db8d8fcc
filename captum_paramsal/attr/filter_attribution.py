"""The base of methods that score filters, your own too: Captum's call, and the saliency profile behind it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from captum.attr import Attribution
from captum.log import log_usage
from torch import Tensor, nn
from typing_extensions import deprecated

from captum_paramsal.batch import Inputs
from captum_paramsal.filters import FilterIndex
from captum_paramsal.functional import Loss, Target, cross_entropy, loss_name
from captum_paramsal.hooks import Output
from captum_paramsal.profiles import FilterProfile, LayerSelection
from captum_paramsal.reference import Reference
from captum_paramsal.summary import Summarized


class FilterAttribution(Summarized, Attribution, ABC):  # type: ignore[misc] # Captum is not typed strictly
    """A method that gives every filter a score for every image, from the image's saliency profile.

    A subclass writes one method, :meth:`score`: from profiles, which :func:`captum_paramsal.functional.mean_abs`
    defines, to scores. What else the scores need is in :attr:`filters` and :attr:`reference`;
    :doc:`/howto/own_filter_score` shows two of them.

    Args:
        model: A classifier that returns class scores ``(N, C)``; left as it is.
        reference: Statistics of the reference set; None for methods that need none.
        layers: Layers to score: names, glob patterns, modules or layer types, ``...`` among them for the default. By
            default those of the reference, or every convolution, attention's projections by head and every Linear layer
            at places or tokens, but none whose channels are the class scores.
        loss: Loss per example, ``(logits (N, C), labels (N,)) -> (N,)``.
        output: What makes class scores ``(N, C)`` of what the model returns, where it returns something else than
            these or ``logits``.
        bias: Take each filter's entry of the layer's bias as one of its weights.

    Attributes:
        reference: Statistics of the reference set, or None.
        profiler: Takes the profiles, and their gradients with respect to the inputs.

    Raises:
        ReferenceMismatchError: The reference was taken on other weights, other layers or another loss.
        LayerError: ``layers`` selects nothing, or the model has no filter layer.

    >>> import torch
    >>> class Share(FilterAttribution):
    ...     '''Share of a filter in the image's whole profile.'''
    ...
    ...     def score(self, profile):
    ...         return profile / profile.sum(dim=1, keepdim=True)
    >>> model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    >>> Share(model).attribute(torch.rand(5, 3, 8, 8), target=1).sum(dim=1).round()
    tensor([1., 1., 1., 1., 1.])
    """

    def __init__(
        self,
        model: nn.Module,
        reference: Reference | None = None,
        *,
        layers: LayerSelection | None = None,
        loss: Loss = cross_entropy,
        output: Output | None = None,
        bias: bool = False,
    ) -> None:
        super().__init__(model)
        chosen = reference.filters if layers is None and reference is not None else layers
        self.profiler = FilterProfile(model, chosen, loss, output=output, bias=bias)
        self.reference = reference
        if reference is not None:
            reference.check_profile(self.profiler)

    def _facts(self) -> Mapping[str, Any]:
        reference = self.reference
        known = {} if reference is None else {"reference": f"{reference.count} images"}
        layers = f"{len(self.profiler.candidates)} at most"
        return {"model": type(self.model).__name__, "layers": layers, "loss": loss_name(self.profiler.loss), **known}

    @property
    def model(self) -> nn.Module:
        """The scored model, unwrapped."""
        return self.profiler.model

    @property
    def filters(self) -> FilterIndex:
        """What each column of the scores belongs to."""
        return self.profiler.filters

    @property
    def multiplies_by_inputs(self) -> bool:
        """Always False, since scores belong to filters and not to inputs."""
        return False

    @property
    @deprecated("`profile` of a method that scores filters is now `profiler`; the old name goes with version 0.3.")
    def profile(self) -> FilterProfile:
        """The old name of ``profiler``."""
        return self.profiler

    @abstractmethod
    def score(self, profile: Tensor) -> Tensor:
        """Score every filter: what a subclass writes.

        Args:
            profile: Saliency profiles ``(N, F)``, in the order of :attr:`filters`; on the model's device, float32 for a
                model in half precision.

        Returns:
            ``(N, F)`` on the same device, higher for a more salient filter. Each row from itself alone, so that a batch
            gives what its images give; differentiable, where :class:`~captum_paramsal.InputSpaceSaliency` is to take
            it.
        """

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
            inputs: Images, ``(N, C, H, W)``, or a tuple or dict of what the model takes, N examples each; arrays of
                numpy too, and one image ``(C, H, W)``, which is a batch of one.
            target: Class whose loss is explained, the true one for a mistake: an int, a tensor or list of N classes, a
                tuple ``(class, *place)`` or a list of N tuples for outputs ``(N, C, ...)``; None takes the model's
                prediction.
            additional_forward_args: Further arguments of the model, by name in a dict; tensors with N rows go with
                their images.
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
        profile = self.profiler(
            inputs, target, additional_forward_args, internal_batch_size, show_progress=show_progress
        )
        scores = self.score(profile)
        return (scores,) if isinstance(inputs, tuple) else scores
