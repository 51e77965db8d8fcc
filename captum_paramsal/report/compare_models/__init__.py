"""The report on two checkpoints of one architecture."""
