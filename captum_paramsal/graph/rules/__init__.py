"""One trace-back rule for every operation that convolutional networks are made of."""

from captum_paramsal.graph.rules import (
    concatenation,
    contraction,
    convolution,
    joining,
    linear,
    passing,
    pooling,
    rearranging,
)

__all__ = ["concatenation", "contraction", "convolution", "joining", "linear", "passing", "pooling", "rearranging"]
