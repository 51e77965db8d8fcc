"""``captum-paramsal schema``: what the files that are written look like, for programs."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from captum_paramsal.cli.options import Commands, add_command
from captum_paramsal.cli.saying import say
from captum_paramsal.errors import SourceError

_DESCRIPTION = """\
Print a JSON Schema (2020-12) of a file that this version writes, or the names of all: of the JSON of every report and
the rows of its tables, of manifest.json, and of saved results. No network is needed.
"""
_EPILOG = """\
examples:
  captum-paramsal schema
  captum-paramsal schema reports/explanation.4
  captum-paramsal schema --out schemas
"""


def add_to(commands: Commands, summary: str) -> None:
    """Add the subcommand to a parser."""
    parser = add_command(commands, "schema", summary, description=_DESCRIPTION, epilog=_EPILOG)
    parser.add_argument("name", metavar="NAME", nargs="?", help="which one to print; without it, all names are printed")
    parser.add_argument("--out", metavar="DIR", type=Path, help="write all of them into this folder instead")
    parser.set_defaults(run=run, parser=parser)


def run(args: argparse.Namespace) -> int:
    """Print names or a schema, or write all."""
    from captum_paramsal.report import json_schemas  # noqa: PLC0415

    schemas = json_schemas()
    if args.name is not None and args.out is not None:
        args.parser.error("NAME and --out exclude each other")
    if args.name is not None and args.name not in schemas:
        message = f"Expected the name of a schema, got {args.name!r}. Names are {', '.join(schemas)}."
        raise SourceError(message)
    if args.out is not None:
        _write(schemas, args.out)
        say(args.out.resolve())
    elif args.name is not None:
        say(_text(schemas[args.name]))
    else:
        say("\n".join(schemas))
    return 0


def _write(schemas: Mapping[str, Mapping[str, Any]], folder: Path) -> None:
    from captum_paramsal.files import open_folder, write_atomically  # noqa: PLC0415

    for group in {Path(name).parent for name in schemas}:
        names = [name for name in schemas if Path(name).parent == group]
        files = {f"{Path(name).name}.schema.json": f"{_text(schemas[name])}\n" for name in names}
        write_atomically(open_folder(folder / group), files)


def _text(schema: Mapping[str, Any]) -> str:
    return json.dumps(schema, indent=2, ensure_ascii=False)
