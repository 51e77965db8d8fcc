"""What a result was computed with."""

from __future__ import annotations

from importlib.metadata import version

__version__ = "0.1.0"


def versions() -> dict[str, str]:
    """Versions of this package, Captum and PyTorch, as results keep them."""
    import torch  # noqa: PLC0415 -- the package's root imports this file, and loads torch only when it is used

    return {"captum_paramsal": __version__, "captum": version("captum"), "torch": torch.__version__}
