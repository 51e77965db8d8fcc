"""Models, weights and labelled photos from files: the only room that knows torchvision and Pillow."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
