"""The report on every mistake and the filters behind it."""
