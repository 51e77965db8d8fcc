"""``{code-of} package.module:name``: a function's code without its docstring, which is on the API pages."""

import ast
import inspect
import textwrap
from importlib import import_module
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

__all__ = ["code_of", "setup"]


def code_of(name: str) -> str:
    """Source of a function named by module and path within it, such as ``package.module:Class.method``."""
    module, path = name.split(":")
    target: Any = import_module(module)
    for part in path.split("."):
        target = getattr(target, part)
    source = textwrap.dedent(inspect.getsource(target))
    function = ast.parse(source).body[0]
    if not isinstance(function, ast.FunctionDef):
        message = f"Expected a function, got {name!r}."
        raise TypeError(message)
    docstring, first, *_ = function.body
    lines = source.splitlines()
    return "\n".join([*lines[: docstring.lineno - 1], *lines[first.lineno - 1 :]])


class CodeOf(SphinxDirective):
    """One block of code."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """The highlighted source."""
        text = code_of(self.arguments[0])
        return [nodes.literal_block(text, text, language="python")]


def setup(app: Sphinx) -> dict[str, Any]:
    """Add the directive."""
    app.add_directive("code-of", CodeOf)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
