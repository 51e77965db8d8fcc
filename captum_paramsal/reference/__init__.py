"""What every filter usually does on a reference set: one pass, resumable, and spread over the processes of a group."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
