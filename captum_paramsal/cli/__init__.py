"""The command line: parse, call, write. Nothing heavy is imported before a subcommand runs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from captum_paramsal import __version__
from captum_paramsal.cli import compare, doctor, explain, reference, triage
from captum_paramsal.errors import ParamsalError

_EPILOG = """\
examples:
  captum-paramsal explain
      Explain the mistakes of the built-in demo model; no file is needed.
  captum-paramsal explain --model resnet50 --weights DEFAULT --labels photos.csv photos/
      Explain the mistakes of a torchvision model on your own photos.
  captum-paramsal doctor --treat
      Find the channels that mislead the demo model, and treat it.
  captum-paramsal compare
      Compare attribution methods on the demo model.
  captum-paramsal triage
      Sort all mistakes of the demo model: which belong together, and by which filters.

Exit status: 0 done, 2 something is wrong with what was given, 130 interrupted.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: Arguments without the program's name; those of the process if None.

    Returns:
        The exit status: 0, 2 for a ``ParamsalError``, 130 after Ctrl-C.
    """
    args = _parser().parse_args(argv)
    try:
        status: int = args.run(args)
    except ParamsalError as error:
        print(f"captum-paramsal: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\ncaptum-paramsal: interrupted; no result was written.", file=sys.stderr)
        return 130
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="captum-paramsal",
        description="Why did the classifier get this image wrong? Find the filters behind each mistake.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"captum-paramsal {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    explain.add_to(commands)
    reference.add_to(commands)
    doctor.add_to(commands)
    compare.add_to(commands)
    triage.add_to(commands)
    return parser
