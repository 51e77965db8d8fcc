"""``{command-help}``: what a command prints for ``--help``, from its own parser."""

import io
import os
from contextlib import redirect_stdout, suppress
from typing import Any
from unittest.mock import patch

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from captum_paramsal.cli import main

__all__ = ["setup"]

_TERMINAL = {"COLUMNS": "100", "NO_COLOR": "1"}


class CommandHelp(SphinxDirective):
    """The help of ``captum-paramsal``, or of the subcommand that is its argument."""

    optional_arguments = 1

    def run(self) -> list[nodes.Node]:
        """One literal block."""
        help_text = io.StringIO()
        with patch.dict(os.environ, _TERMINAL), redirect_stdout(help_text), suppress(SystemExit):
            main([*self.arguments, "--help"])
        text = help_text.getvalue().rstrip()
        return [nodes.literal_block(text, text, language="text")]


def setup(app: Sphinx) -> dict[str, Any]:
    """Add the directive."""
    app.add_directive("command-help", CommandHelp)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
