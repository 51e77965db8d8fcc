"""``{trace-rules}``: every operation that can be traced back, by rule, from the registry itself."""

import inspect
import operator
from collections.abc import Callable
from typing import Any

import torch
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from captum_paramsal.graph import registered_operations

__all__ = ["name_of", "operations_by_rule", "setup"]

_WHERE = {"functional": torch.nn.functional, "torch": torch, "operator": operator}


def name_of(operation: type | Callable[..., Any] | str) -> str:
    """How a reader would write an operation; a tensor's method with its dot and brackets.

    >>> name_of(torch.nn.ReLU), name_of(operator.add), name_of(torch.conv2d), name_of("view")
    ('nn.ReLU', 'operator.add', 'functional.conv2d', '.view()')
    """
    if isinstance(operation, str):
        return operation if "." in operation else f".{operation}()"
    if isinstance(operation, type):
        return f"nn.{operation.__name__}" if operation.__module__.startswith("torch.nn.") else operation.__qualname__
    for name, module in _WHERE.items():
        found = getattr(module, operation.__name__, None)
        if found is operation:
            return f"{name}.{operation.__name__}"
    # Some functions of torch.nn.functional pass on to one that has another name.
    public = ((name, key, one) for name, module in _WHERE.items() for key, one in vars(module).items())
    return next((f"{name}.{key}" for name, key, one in public if one is operation), operation.__name__)


def operations_by_rule() -> dict[str, tuple[str, list[str]]]:
    """What each rule's docstring says, and its operations, in the order of registration."""
    rows: dict[str, tuple[str, list[str]]] = {}
    for operation, rule in registered_operations().items():
        if not type(rule).__module__.startswith("captum_paramsal."):
            continue
        about, _, _ = (inspect.getdoc(type(rule)) or "").partition("\n")
        rows.setdefault(type(rule).__name__, (about, []))[1].append(name_of(operation))
    return rows


class TraceRules(SphinxDirective):
    """One definition per rule: what it does, and for which operations."""

    def run(self) -> list[nodes.Node]:
        """A definition list."""
        found = nodes.definition_list()
        for about, operations in operations_by_rule().values():
            term, _ = self.parse_inline(about.rstrip("."))
            names = [node for name in operations for node in (nodes.Text(", "), nodes.literal(text=name))]
            listed = nodes.definition("", nodes.paragraph("", "", *names[1:]))
            found += nodes.definition_list_item("", nodes.term("", "", *term), listed)
        return [found]


def setup(app: Sphinx) -> dict[str, Any]:
    """Add the directive."""
    app.add_directive("trace-rules", TraceRules)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
