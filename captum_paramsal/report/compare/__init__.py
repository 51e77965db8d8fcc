"""The report on methods side by side."""
