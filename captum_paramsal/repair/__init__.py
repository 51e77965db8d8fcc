"""Interventions on filters, treating a classifier, and the difference that it makes as a file."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
