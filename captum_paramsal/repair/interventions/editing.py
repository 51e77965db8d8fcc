"""Other values in some slices of a model's parameters, for as long as a block runs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from torch import nn

from captum_paramsal.batch import Inputs
from captum_paramsal.errors import InterventionError
from captum_paramsal.filters import Filter
from captum_paramsal.functional import Loss, Target, cross_entropy
from captum_paramsal.hooks import Output, scored_model
from captum_paramsal.profiles import FilterParameters, ParameterSlice, restored, write
from captum_paramsal.repair.interventions.intervention import (
    FineTuneStep,
    Gradients,
    Intervention,
    KnockOut,
    Perturbation,
    weight_gradients,
)


@contextmanager
def knock_out(
    model: nn.Module, filters: Filter | Iterable[Filter], *, bias: bool = False, batch_norm: bool = False
) -> Iterator[nn.Module]:
    """Set filters to zero while the block runs; every bit is back when it ends, also after an exception.

    Args:
        model: The model; changed in place for the time of the block.
        filters: One or several, such as ``saliency.filters.top(scores, k=10)[0]``.
        bias: Zero the filters' entries of their layers' biases too. Without it a knocked-out channel is constant.
        batch_norm: Zero weight and bias of the batch norm after them, so that the channel is zero after it.

    Yields:
        The model.

    Raises:
        InterventionError: The model does not have one of the ``filters``, or one is given twice.

    References:
        Levin et al., *Where do Models go Wrong?*, arXiv 2108.01335, section 4.1.

    >>> from captum_paramsal import Filter
    >>> from captum_paramsal.demo import load_model, load_scenes, normalize
    >>> model, image = load_model(), normalize(load_scenes().images[:1])
    >>> before = model(image)
    >>> with knock_out(model, Filter("block2.conv1", 3)):
    ...     bool(model(image).equal(before))
    False
    >>> bool(model(image).equal(before))
    True
    """
    with _edited(_slices(model, filters, bias=bias, batch_norm=batch_norm), KnockOut(), {}):
        yield model


@contextmanager
def perturb(
    model: nn.Module,
    filters: Filter | Iterable[Filter],
    scale: float = 1.0,
    *,
    relative: bool = False,
    seed: int = 0,
    bias: bool = False,
    batch_norm: bool = False,
) -> Iterator[nn.Module]:
    """Add normal noise to filters while the block runs; every bit is back when it ends.

    Args:
        model: The model; changed in place for the time of the block.
        filters: One or several.
        scale: Standard deviation; with ``relative``, norm of the noise as a share of the filter's own.
        relative: See ``scale``.
        seed: Fixes the noise of each filter, whatever others are perturbed.
        bias: Perturb the filters' biases too.
        batch_norm: Perturb weight and bias of the batch norm after them too.

    Yields:
        The model.

    Raises:
        InterventionError: The model does not have one of the ``filters``, one is given twice, or ``scale`` is not above
            0.

    References:
        Levin et al., arXiv 2108.01335, figure 16.
    """
    noise = Perturbation(scale, relative, seed)
    with _edited(_slices(model, filters, bias=bias, batch_norm=batch_norm), noise, {}):
        yield model


@contextmanager
def fine_tune_step(
    model: nn.Module,
    filters: Filter | Iterable[Filter],
    inputs: Inputs,
    target: Target,
    learning_rate: float = 0.001,
    *,
    loss: Loss = cross_entropy,
    bias: bool = False,
    batch_norm: bool = False,
    output: Output | None = None,
) -> Iterator[nn.Module]:
    """Move filters one step down the gradient of a loss while the block runs; every bit is back when it ends.

    Args:
        model: The model, in evaluation mode for the gradient; changed in place for the time of the block.
        filters: One or several.
        inputs: Images whose mean loss goes down.
        target: Their true classes.
        learning_rate: Length of the step.
        loss: Loss per example.
        bias: Move the filters' biases too.
        batch_norm: Move weight and bias of the batch norm after them too.
        output: What makes class scores ``(N, C)`` of what the model returns, where it returns something else than
            these or ``logits``.

    Yields:
        The model.

    Raises:
        InterventionError: The model does not have one of the ``filters``, one is given twice, or ``learning_rate`` is
            not above 0.
        InputError, TargetError: The images cannot be scored, or ``target`` does not name their classes.

    References:
        Levin et al., arXiv 2108.01335, section 4.2; Wang and Sato, arXiv 2310.17951, section 4.3.
    """
    step = FineTuneStep(learning_rate)
    slices = _slices(model, filters, bias=bias, batch_norm=batch_norm)
    parameters = [part.parameter for filter_slices in slices for part in filter_slices]
    # Before anything is written: every filter's step is that of the unchanged model.
    gradients = weight_gradients(scored_model(model, output), inputs, target, None, parameters, loss)
    with _edited(slices, step, gradients):
        yield model


@contextmanager
def _edited(
    slices: Sequence[Sequence[ParameterSlice]], intervention: Intervention, gradients: Gradients
) -> Iterator[None]:
    with restored(slices):
        for filter_slices in slices:
            write(filter_slices, intervention.values(filter_slices, gradients))
        yield


def _slices(
    model: nn.Module, filters: Filter | Iterable[Filter], *, bias: bool, batch_norm: bool
) -> list[tuple[ParameterSlice, ...]]:
    chosen = [filters] if isinstance(filters, Filter) else list(filters)
    wrong = [item for item in chosen if not isinstance(item, Filter)]
    if wrong:
        message = (
            f"Expected `filters` to be filters, such as `saliency.filters.top(scores)[0]`, got {wrong[0]!r} "
            f"({type(wrong[0]).__name__})."
        )
        raise InterventionError(message)
    return FilterParameters(model, bias=bias, batch_norm=batch_norm).every(chosen)
