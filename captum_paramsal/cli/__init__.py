"""The command line: parse, call, write. Nothing heavy is imported before a subcommand runs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module

from captum_paramsal import __version__
from captum_paramsal.cli.saying import say, speaking
from captum_paramsal.errors import ParamsalError

_COMMANDS = {
    "explain": "explain every mistake of a model on labelled images",
    "reference": "take the statistics of a reference set and save them",
    "doctor": "find the channels that misled each mistake, and treat the model",
    "annotate": "choose the pictures whose objects are worth marking for a treatment",
    "compare": "compare attribution methods on the same images",
    "triage": "sort all mistakes: which belong together, and by which filters",
    "cure": "change few filters until mistakes go away, and keep that only if it is proven",
    "patch": "put a patch on weights, or take it off again",
    "compare-models": "compare two checkpoints: what only one gets right, and what differs there",
    "index": "write a front page for the reports of a folder",
    "schema": "print the JSON Schemas of what is written",
    "reproduce": "make a figure of the papers for a model and images",
    "about": "print versions, devices and threads, for reports of errors",
}
"""Each one a file of this folder, an underscore for a hyphen, with what the help says of it."""
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
  captum-paramsal cure
      Cure mistakes of the demo model, or say why not.
  captum-paramsal compare-models
      Compare the demo model with a damaged copy of it.
  captum-paramsal reproduce knock-out
      Make a figure of the papers for the demo model.

Exit status: 0 done, 1 no weights were saved since the cure was refused, 2 something is wrong with what was given,
130 interrupted.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: Arguments without the program's name; those of the process if None.

    Returns:
        The exit status: 0, 1 where no weights were saved, 2 for a ``ParamsalError``, 130 after Ctrl-C.
    """
    given = sys.argv[1:] if argv is None else argv
    args = _parser(next((word for word in given if word in _COMMANDS), None)).parse_args(given)
    args.command = ("captum-paramsal", *given)
    try:
        with speaking():
            status: int = args.run(args)
    except ParamsalError as error:
        say(f"captum-paramsal: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:
        say(f"\ncaptum-paramsal: interrupted; {str(stop) or 'no result was written'}.", file=sys.stderr)
        return 130
    return status


def _parser(command: str | None) -> argparse.ArgumentParser:
    """All commands by name, and the options of the one that runs: no other file is imported."""
    parser = argparse.ArgumentParser(
        prog="captum-paramsal",
        description="Why did the classifier get this image wrong? Find the filters behind each mistake.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"captum-paramsal {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for name, summary in _COMMANDS.items():
        if name == command:
            import_module(f"{__name__}.{name.replace('-', '_')}").add_to(commands, summary)
        else:
            commands.add_parser(name, help=summary)
    return parser
