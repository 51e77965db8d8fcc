"""A model trained under constraints, judged on images that it never saw, kept as a patch."""
