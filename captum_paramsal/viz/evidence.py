"""Where the evidence for a class lies over its image."""

from __future__ import annotations

from matplotlib.axes import Axes
from torch import Tensor

from captum_paramsal.errors import InputError
from captum_paramsal.viz.inputs import Values, as_values
from captum_paramsal.viz.outlines import draw_outline
from captum_paramsal.viz.style import new_axes, styled
from captum_paramsal.viz.traces import trace_glow, trace_overlay


def evidence_overlay(image: Values, evidence: Values) -> Tensor:
    """A map of evidence as a glow over a dimmed grey copy of its image, the brighter the more, up to its maximum.

    Args:
        image: ``(1 or 3, H, W)`` with values in [0, 1], before any normalisation; values outside are cut off.
        evidence: ``(h, w)`` of the same picture, usually much coarser, not negative. Places that are not finite do not
            glow; a map of 0 leaves the dimmed picture.

    Returns:
        ``(3, H, W)``, float32 in [0, 1], on the CPU.

    Raises:
        InputError: Something of another shape, or evidence below 0.

    >>> import torch
    >>> evidence_overlay(torch.rand(3, 8, 8), torch.tensor([[0.0, 1.0], [float("nan"), 0.5]])).shape
    torch.Size([3, 8, 8])
    """
    return trace_overlay(image, _finite(evidence))


def evidence_glow(evidence: Values, size: tuple[int, int]) -> Tensor:
    """The glow of :func:`evidence_overlay` alone, to be laid over the dimmed picture.

    Args:
        evidence: ``(h, w)``, not negative; places that are not finite do not glow.
        size: Height and width of the glow.

    Returns:
        ``(4, H, W)``, float32 in [0, 1], on the CPU: red, green, blue and opacity.

    Raises:
        InputError: A map of another shape, or evidence below 0.
    """
    return trace_glow(_finite(evidence), size)


def evidence_plot(
    image: Values, evidence: Values, ax: Axes | None = None, *, mask: Values | None = None, title: str = ""
) -> Axes:
    """Draw a map of evidence over its image, with the outline of the object.

    Args:
        image: ``(1 or 3, H, W)`` with values in [0, 1], before any normalisation.
        evidence: ``(h, w)``, such as a row of ``Findings.evidence`` or ``Findings.wrong_evidence``.
        ax: Where to draw; by default on a new figure.
        mask: Pixels of the object, ``(H, W)`` bool, to be outlined.
        title: Over the picture.

    Returns:
        The axes. Nothing is shown; ``ax.figure.savefig`` writes a file.

    Raises:
        InputError: See :func:`evidence_overlay`; or a mask of another size.

    >>> import torch
    >>> ax = evidence_plot(torch.rand(3, 8, 8), torch.eye(2), mask=torch.eye(8) > 0)
    >>> ax.images[0].get_array().shape
    (8, 8, 3)
    """
    shown = evidence_overlay(image, evidence)
    height, width = shown.shape[1:]
    object_pixels = None if mask is None else as_values(mask)
    if object_pixels is not None and tuple(object_pixels.shape) != (height, width):
        got = tuple(object_pixels.shape)
        message = f"Expected a mask of the image's {height} x {width} pixels (height x width), got {got}."
        raise InputError(message)
    with styled():
        axes = new_axes(3.6, 3.6 * height / width) if ax is None else ax
        axes.imshow(shown.permute(1, 2, 0).numpy(), interpolation="nearest")
        if object_pixels is not None:
            draw_outline(axes, object_pixels)
        axes.set_xlim(-0.5, width - 0.5)
        axes.set_ylim(height - 0.5, -0.5)
        axes.set_axis_off()
        axes.set_title(title)
    return axes


def _finite(evidence: Values) -> Tensor:
    glow = as_values(evidence)
    if glow.ndim != 2 or 0 in glow.shape:
        message = f"Expected a map of evidence (h, w), got {tuple(glow.shape)}."
        raise InputError(message)
    return glow.float().nan_to_num(nan=0.0, posinf=0.0)
