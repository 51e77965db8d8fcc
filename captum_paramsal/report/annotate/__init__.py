"""The pictures whose objects are worth marking, as a folder to draw in."""
