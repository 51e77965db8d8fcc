"""CNN-Fixations (Mopuri, Garg and Babu, 2019): the pixels that the strongest activations lead back to."""

from __future__ import annotations

from torch import nn

from captum_paramsal.attr.trace_attribution import TraceAttribution
from captum_paramsal.graph import TraceSettings
from captum_paramsal.hooks import Output


class CNNFixations(TraceAttribution):
    """Heat map of the pixels that the strongest contributions to a class score lead back to.

    Each selected neuron of a layer is carried by the neurons before it that contribute most: all with a positive
    contribution ``A · W`` before a linear layer (the single best where its input is a flattened map), one channel at
    the centre of the receptive field before a convolution, the place of the maximum before a pool
    (:func:`captum_paramsal.graph.selecting.select`, where Ω = Z_cur without weights). No gradient is taken. The method
    was made for activations that are not negative: with others, a path may end before the image.

    Args:
        model: A convolutional classifier that returns class scores ``(N, C)``; left as it is.
        output: What makes class scores ``(N, C)`` of what the model returns, where it returns something else than
            these or ``logits``.

    References:
        Mopuri et al., *CNN Fixations: An Unraveling Approach to Visualize the Discriminative Image Regions*, IEEE
        Transactions on Image Processing 28 (2019), arXiv 1708.06670.

    >>> import torch
    >>> _ = torch.manual_seed(0)
    >>> model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    >>> CNNFixations(model).attribute(torch.rand(5, 3, 8, 8), target=1).shape
    torch.Size([5, 3, 8, 8])
    """

    def __init__(self, model: nn.Module, *, output: Output | None = None) -> None:
        settings = TraceSettings(
            weights=None, top_k=1, linear_top_k=None, places=1, active_only=False, single_place=True
        )
        super().__init__(model, settings, output=output)
