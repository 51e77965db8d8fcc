"""What the reports have in common."""
