"""Statistics that are taken in one pass and merged exactly."""

from captum_paramsal.stats.moments import Moments

__all__ = ["Moments"]
