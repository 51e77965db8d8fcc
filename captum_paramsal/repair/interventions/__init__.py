"""Filters turned off, perturbed or trained for one step, and what that does to the mistakes."""
