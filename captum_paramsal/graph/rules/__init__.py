"""One trace-back rule for every operation that convolutional networks are made of."""

from captum_paramsal.graph.rules import contraction, convolution, joining, linear, passing, pooling, rearranging

__all__ = ["contraction", "convolution", "joining", "linear", "passing", "pooling", "rearranging"]
