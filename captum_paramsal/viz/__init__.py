"""Figures from plain tensors, in one style: the only room that knows matplotlib."""

from captum_paramsal.viz.profiles import profile_plot
from captum_paramsal.viz.style import PALETTE, new_axes, to_png, to_svg

__all__ = ["PALETTE", "new_axes", "profile_plot", "to_png", "to_svg"]
