"""The report on all mistakes of a set."""
