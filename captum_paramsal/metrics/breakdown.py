"""Images on which pointing at the object takes more than pointing at the middle."""

from __future__ import annotations

from torch import Tensor

from captum_paramsal.errors import InputError
from captum_paramsal.metrics.boxes import Boxes, area_share
from captum_paramsal.metrics.pointing_game import centre_point, pointing_game_at


def has_small_boxes(boxes: Boxes, size: tuple[int, int], share: float = 1 / 3) -> Tensor:
    """Images whose boxes cover less than a share of their pixels, together.

    Args:
        boxes: Ground truth of each image.
        size: Height and width of the images in pixels.
        share: In (0, 1].

    Returns:
        ``(N,)`` bool.

    Raises:
        InputError: Another share, no ground truth for an image, or boxes that do not lie within it.

    >>> import torch
    >>> has_small_boxes(torch.tensor([[0, 0, 2, 2], [0, 0, 4, 4]]), (6, 6))
    tensor([ True, False])
    """
    if not 0 < share <= 1:
        message = f"Expected a `share` of the image above 0, up to 1, got {share}."
        raise InputError(message)
    return area_share(boxes, size) < share


def misses_centre(boxes: Boxes, size: tuple[int, int], *, tolerance: float = 0.0) -> Tensor:
    """Images whose centre lies in none of their boxes.

    Args:
        boxes: Ground truth of each image.
        size: Height and width of the images in pixels.
        tolerance: As in the pointing game.

    Returns:
        ``(N,)`` bool.

    Raises:
        InputError: See :func:`captum_paramsal.metrics.pointing_game`.

    >>> import torch
    >>> misses_centre(torch.tensor([[0, 0, 2, 2], [0, 0, 4, 4]]), (6, 6))
    tensor([ True, False])
    """
    return ~pointing_game_at(centre_point(size), boxes, size, tolerance=tolerance).hits
