"""Filters turned off, disturbed or trained for one step, and what that does to the mistakes."""
