"""Changing few filters so that a group of mistakes goes away, proven on images that took no part."""
