"""``captum-paramsal about``: what an error report should say of a machine."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from captum_paramsal.cli.options import Commands, add_command
from captum_paramsal.cli.saying import say

_DESCRIPTION = """\
Print what a report of an error should say: versions of Python, of this package and of those that it works with, the
devices and threads of this machine, and the versions of the files that this package writes.
"""
_WITH = (
    *("torch", "torchvision", "captum", "numpy", "scipy", "safetensors", "pillow", "matplotlib"),
    *("timm", "transformers"),
)
"""Packages that it works with, the optional ones last."""


def add_to(commands: Commands, summary: str) -> None:
    """Add the subcommand to a parser."""
    parser = add_command(commands, "about", summary, description=_DESCRIPTION)
    parser.set_defaults(run=run)


def run(_: argparse.Namespace) -> int:
    """Print, a line for each thing."""
    facts = dict(_facts())
    width = max(map(len, facts))
    for name, value in facts.items():
        say(f"{name:{width}}  {value}")
    return 0


def _facts() -> Iterator[tuple[str, str]]:
    import platform  # noqa: PLC0415

    import torch  # noqa: PLC0415

    from captum_paramsal.versions import __version__  # noqa: PLC0415

    yield "captum-paramsal", __version__
    yield "python", f"{platform.python_version()} ({platform.python_implementation()})"
    yield "system", platform.platform()
    for name in _WITH:
        yield name, _version_of(name)
    yield "devices", ", ".join(_devices())
    yield "threads", f"{torch.get_num_threads()} of torch"
    yield "files", ", ".join(_file_versions())


def _version_of(package: str) -> str:
    from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415

    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _devices() -> Iterator[str]:
    import torch  # noqa: PLC0415

    yield "cpu"
    for number in range(torch.cuda.device_count()):
        yield f"cuda:{number} ({torch.cuda.get_device_name(number)})"
    if torch.backends.mps.is_available():
        yield "mps"


def _file_versions() -> Iterator[str]:
    """Of each kind of file, the version that is written."""
    from captum_paramsal.files import kinds  # noqa: PLC0415
    from captum_paramsal.files.file_kind import FileKind  # noqa: PLC0415

    for kind in vars(kinds).values():
        if isinstance(kind, FileKind):
            yield f"{kind.name} {kind.versions[-1]}"
