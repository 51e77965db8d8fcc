"""The report on a cure."""
