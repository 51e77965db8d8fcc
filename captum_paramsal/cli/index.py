"""``captum-paramsal index``: a front page for the reports of a folder."""

from __future__ import annotations

import argparse
from pathlib import Path

from captum_paramsal.cli.options import Commands, add_command
from captum_paramsal.cli.saying import say

_DESCRIPTION = """\
Write index.html for the reports that lie in a folder, each in a folder of its own, and link their pages to it and to
each other. A report that is written there later brings it up to date. No number changes.
"""
_EPILOG = """\
examples:
  captum-paramsal explain --out reports/explain
  captum-paramsal triage --out reports/triage
  captum-paramsal index reports
"""


def add_to(commands: Commands, summary: str) -> None:
    """Add the subcommand to a parser."""
    parser = add_command(commands, "index", summary, description=_DESCRIPTION, epilog=_EPILOG)
    parser.add_argument("folder", metavar="FOLDER", type=Path, help="where the folders with reports lie")
    parser.set_defaults(run=run, parser=parser)


def run(args: argparse.Namespace) -> int:
    """Write the page, say where."""
    from captum_paramsal.report import write_front_page  # noqa: PLC0415

    say(write_front_page(args.folder).resolve())
    return 0
