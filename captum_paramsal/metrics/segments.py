"""Images cut into segments of similar pixels, and the order in which a map ranks them."""

from __future__ import annotations

from importlib import import_module

import numpy as np
import torch
from torch import Tensor

NO_SEGMENTS = "scikit-image is not installed; `pip install scikit-image` for segments."
"""Why there are none."""


def segments_of(images: Tensor, count: int) -> Tensor:
    """Segments by scikit-image's SLIC with its defaults: by place, and by colour in Lab where there are three channels.

    Args:
        images: ``(N, C, H, W)``; each is stretched to [0, 1].
        count: About how many.

    Returns:
        ``(N, H, W)`` int64: the number of each pixel's segment, from 0 on without gaps.

    Raises:
        ModuleNotFoundError: scikit-image is not installed.

    References:
        Achanta, Shaji, Smith, Lucchi, Fua, Süsstrunk: *SLIC Superpixels Compared to State-of-the-Art Superpixel
        Methods*, IEEE TPAMI 34 (2012).
    """
    slic = import_module("skimage.segmentation").slic
    pictures = images.detach().cpu().double().movedim(1, -1).numpy()
    found = [slic(picture, n_segments=count, start_label=0, channel_axis=-1) for picture in pictures]
    numbered = [np.unique(labels, return_inverse=True)[1].reshape(labels.shape) for labels in found]
    return torch.from_numpy(np.stack(numbered)).long()


def segment_ranks(values: Tensor, segments: Tensor) -> tuple[Tensor, Tensor]:
    """Rank of every pixel's segment by the mean of a map in it, the highest 0; of equal ones the first number's.

    Args:
        values: ``(N, H, W)``.
        segments: Numbers of the segments, the same shape.

    Returns:
        ``(N, H, W)`` int64, and how many segments each image has, ``(N,)``.

    >>> ranks, counts = segment_ranks(torch.tensor([[[5.0, 0.0, 3.0]]]), torch.tensor([[[0, 0, 1]]]))
    >>> ranks.tolist(), counts.tolist()
    ([[[1, 1, 0]]], [2])
    """
    ranks = []
    for value, labels in zip(values.flatten(1).double(), segments.flatten(1), strict=True):
        means = labels.bincount(value) / labels.bincount()
        rank = torch.empty(len(means), dtype=torch.int64)
        rank[means.argsort(descending=True, stable=True)] = torch.arange(len(means))
        ranks.append(rank[labels])
    return torch.stack(ranks).view(values.shape), segments.flatten(1).amax(dim=1) + 1
