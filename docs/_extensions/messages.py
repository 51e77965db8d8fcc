"""``{messages}``: what every error and warning of the package says, from the code that raises it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from sphinx.application import Sphinx

__all__ = ["LEFT_OPEN", "Message", "messages_in", "setup"]

LEFT_OPEN = "…"
"""Stands for what is known when the message is raised."""

PACKAGE = Path(__file__).resolve().parents[2] / "captum_paramsal"


class Message(NamedTuple):
    """One sentence or two, and who says it.

    Attributes:
        kind: Name of the error or the warning.
        text: What is said; empty where it is not written in the file that raises it.
        file: Where, below the package.
        line: Of the statement.
    """

    kind: str
    text: str
    file: str
    line: int


def messages_in(package: Path = PACKAGE) -> Iterator[Message]:
    """What is raised and warned of in every file, in the order of the files."""
    for path in sorted(package.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        written = _written(tree)
        for scope in ast.walk(tree):
            if isinstance(scope, ast.FunctionDef):
                yield from _of_function(scope, written, path.relative_to(package).as_posix())


def _of_function(scope: ast.FunctionDef, written: dict[str, list[str]], file: str) -> Iterator[Message]:
    before = scope.lineno
    kinds = (ast.Call, ast.Raise, ast.Return)
    statements = sorted((node for node in ast.walk(scope) if isinstance(node, kinds)), key=lambda node: node.lineno)
    for node in statements:
        said = _said(node)
        if said:
            kind, argument = said
            # What was assigned for the statement before is not said by this one.
            local = _assigned(scope, range(before, node.lineno + 1))
            for text in _texts(argument, {**written, **local}) or [""]:
                yield Message(kind, text, file, node.lineno)
            before = node.lineno + 1


def _said(node: ast.AST) -> tuple[str, ast.expr | None] | None:
    """Kind and argument of a statement that raises or warns, or that makes an error for another one to raise."""
    match node:
        case ast.Call(func=ast.Name(id="warn_caller"), args=[said, category]):
            return ast.unparse(category), said
        case ast.Raise(exc=ast.Call() as made) | ast.Return(value=ast.Call() as made):
            kind = made.func.id if isinstance(made.func, ast.Name) else getattr(made.func, "attr", "")
            # An attribute of that name belongs to a kind of file.
            if kind == "error" or kind.endswith("Error"):
                return "Errors of files" if kind == "error" else kind, made.args[0] if made.args else None
    return None


def _written(tree: ast.Module) -> dict[str, list[str]]:
    """Texts by the names of a file's constants and of its functions that return them."""
    found = _assigned(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            local = _assigned(node)
            returned = [part.value for part in ast.walk(node) if isinstance(part, ast.Return) and part.value]
            found[node.name] = [text for value in returned for text in _texts(value, local)]
    return found


def _assigned(scope: ast.AST, lines: range | None = None) -> dict[str, list[str]]:
    """Texts by the name that they are given, each in all its forms; those of some lines alone."""
    found: dict[str, list[str]] = {}
    for node in ast.walk(scope):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            if lines is not None and node.lineno not in lines:
                continue
            found.setdefault(node.targets[0].id, []).extend(_texts(node.value, {}))
    return found


def _texts(value: ast.expr | None, known: dict[str, list[str]]) -> list[str]:
    """What an expression may say; nothing if it is no text."""
    found: list[str] = []
    match value:
        case ast.Constant(value=str() as text):
            found = [text]
        case ast.JoinedStr(values=parts):
            found = ["".join(str(part.value) if isinstance(part, ast.Constant) else LEFT_OPEN for part in parts)]
        case ast.BinOp(left=left, right=right):
            ends = _texts(right, known) or [LEFT_OPEN]
            found = [first + end for first in _texts(left, known) for end in ends]
        case ast.IfExp(body=body, orelse=other):
            found = _texts(body, known) + _texts(other, known)
        case ast.Name(id=name) | ast.Call(func=ast.Name(id=name)):
            found = known.get(name, [])
    return found


def setup(app: Sphinx) -> dict[str, Any]:
    """Add the directive."""
    from docutils import nodes  # noqa: PLC0415 -- what stands above is tested without Sphinx
    from sphinx.util.docutils import SphinxDirective  # noqa: PLC0415

    class Messages(SphinxDirective):
        """A list of messages under the name of each class."""

        def run(self) -> list[nodes.Node]:
            """One section for each kind of error."""
            by_kind: dict[str, dict[str, str]] = {}
            for message in messages_in():
                if message.text:
                    by_kind.setdefault(message.kind, {}).setdefault(message.text, message.file)
            return [node for kind in sorted(by_kind) for node in self._kind(kind, by_kind[kind])]

        def _kind(self, kind: str, texts: dict[str, str]) -> list[nodes.Node]:
            items = [nodes.list_item("", nodes.paragraph("", "", nodes.Text(text))) for text in texts]
            return [nodes.rubric("", kind), nodes.bullet_list("", *items)]

    app.add_directive("messages", Messages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
