"""How the house stands: files, functions, wiring, doubled names, import cycles, hops from a class to its equation.

    python tests/benchmarks/house.py [FOLDER ...]

Each folder is a checkout; the one that this file belongs to by default. Two give a column each, for before and after.
"""

from __future__ import annotations

import ast
import io
import re
import subprocess
import sys
import tokenize
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import median, quantiles

PACKAGE = "captum_paramsal"
EQUATIONS = {
    "ParameterSaliency, the profile": ("parameter_saliency", "mean_abs"),
    "ParameterSaliency, the z-score": ("parameter_saliency", "standardize"),
    "POTSaliency": ("pot_saliency", "tail_scores"),
    "InputSpaceSaliency": ("input_space_saliency", "boosted_similarity"),
    "DiscernibleNeurons": ("discernible_neurons", "select"),
    "CNNFixations": ("cnn_fixations", "select"),
    "ModelDoctor": ("model_doctor", "evidence_of"),
}
"""File in ``attr/`` and the function that holds its paper's equation, by class."""

FIRST_EXPLAIN = """
import contextlib, io, sys, tempfile
from captum_paramsal.cli import main
with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
    assert main(["explain", "--out", folder]) == 0
files = {m.__file__ for n, m in sys.modules.items() if n.split(".")[0] == "captum_paramsal" and m.__file__}
print(len(files))
"""


@dataclass(frozen=True)
class Source:
    """One file of the package.

    Attributes:
        name: Its module.
        text: What it holds.
        is_stub: Whether it is the stub of a lazy face.
    """

    name: str
    text: str
    is_stub: bool

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text)

    @cached_property
    def code_lines(self) -> frozenset[int]:
        """Numbers of the lines that are neither blank nor comment nor docstring."""
        ignored = {
            tokenize.COMMENT,
            tokenize.NL,
            tokenize.NEWLINE,
            tokenize.INDENT,
            tokenize.DEDENT,
            tokenize.ENDMARKER,
        }
        lines: set[int] = set()
        for token in tokenize.generate_tokens(io.StringIO(self.text).readline):
            if token.type not in ignored:
                lines.update(range(token.start[0], token.end[0] + 1))
        for node in ast.walk(self.tree):
            if (
                isinstance(node, ast.Expr)
                and isinstance(node.value, ast.Constant)
                and isinstance(node.value.value, str)
            ):
                lines.difference_update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
        return frozenset(lines)

    @cached_property
    def wiring(self) -> int:
        """Lines of imports and of ``__all__``, and in the face of a room all of its code."""
        if self.is_stub or "attach_stub" in self.text:
            return len(self.code_lines)
        lines: set[int] = set()
        for node in ast.walk(self.tree):
            is_all = isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__"
            if is_all or isinstance(node, (ast.Import, ast.ImportFrom)):
                lines.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
        return len(lines)

    @cached_property
    def comments(self) -> int:
        """Lines with a comment that says something to a reader, not to a tool."""
        tokens = tokenize.generate_tokens(io.StringIO(self.text).readline)
        own = [token.string for token in tokens if token.type == tokenize.COMMENT]
        return sum(not text.startswith(("# noqa", "# type:", "# pragma")) or " -- " in text for text in own)

    @cached_property
    def functions(self) -> list[tuple[int, str]]:
        """Lines of each function from its ``def`` to its end, docstring and all, and its place."""
        return [(_lines(node), f"{self.name}.{node.name}") for node in self._definitions]

    @cached_property
    def bodies(self) -> list[int]:
        """Lines of each function without its docstring."""
        documented = [node.body[0] if ast.get_docstring(node) else None for node in self._definitions]
        return [
            _lines(node) - (0 if text is None else _lines(text))
            for node, text in zip(self._definitions, documented, strict=True)
        ]

    @cached_property
    def _definitions(self) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
        return [node for node in ast.walk(self.tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]

    @cached_property
    def public_names(self) -> frozenset[str]:
        """Classes, functions and constants at the top that have no underscore."""
        names: set[str] = set()
        for node in self.tree.body:
            if isinstance(node, (ast.ClassDef, ast.FunctionDef)):
                names.add(node.name)
            targets = (
                node.targets
                if isinstance(node, ast.Assign)
                else [node.target]
                if isinstance(node, ast.AnnAssign)
                else []
            )
            names.update(target.id for target in targets if isinstance(target, ast.Name))
        return frozenset(name for name in names if not name.startswith("_"))


class House:
    """The package of one checkout.

    Args:
        root: Folder of the checkout.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.sources = {source.name + ("/stub" if source.is_stub else ""): source for source in _sources(root)}
        self.modules = {name: source for name, source in self.sources.items() if not source.is_stub}
        self._faces = {source.name: dict(_face(source)) for source in self.sources.values() if source.is_stub}

    @cached_property
    def imports(self) -> Mapping[str, frozenset[str]]:
        """Files that each file imports, those for typing and those inside functions too.

        What comes through a lazy face is counted as the file that holds it.
        """
        graph: dict[str, set[str]] = defaultdict(set)
        for name, source in self.modules.items():
            for node in ast.walk(source.tree):
                if isinstance(node, ast.Import):
                    graph[name].update(alias.name for alias in node.names)
                elif isinstance(node, ast.ImportFrom) and node.module:
                    graph[name].update(self._home(node.module, alias.name) for alias in node.names)
        return {name: frozenset(graph[name] & self.modules.keys() - {name}) for name in self.modules}

    def cycles(self) -> list[list[str]]:
        """Files that import each other in a circle, each circle once."""
        reached = {name: self._reached(name) for name in self.modules}
        circles = {frozenset(b for b in reached[a] if a in reached[b]) for a in self.modules if a in reached[a]}
        return sorted(map(sorted, circles))

    def doubled_names(self) -> list[str]:
        """Public names at the top of more than one file."""
        homes: dict[str, list[str]] = defaultdict(list)
        for name, source in self.modules.items():
            for public in source.public_names:
                homes[public].append(name)
        return sorted(public for public, files in homes.items() if len(files) > 1)

    def hops(self, file: str, equation: str) -> int | None:
        """Files to open from a class's file to the one of its equation, along imports and links in docstrings."""
        goals = {name for name, source in self.modules.items() if equation in source.public_names}
        seen, steps = {f"{PACKAGE}.attr.{file}"}, 0
        while seen and not seen & goals:
            more = seen.union(*(self.imports.get(name, frozenset()) | self._linked(name) for name in seen))
            if more == seen:
                return None
            seen, steps = more, steps + 1
        return steps

    def files_of_first_explain(self) -> int:
        """Files of the package that a first ``captum-paramsal explain`` loads."""
        command = [sys.executable, "-W", "ignore", "-c", FIRST_EXPLAIN]
        done = subprocess.run(command, cwd=self.root, capture_output=True, text=True, check=True)  # noqa: S603 -- our own
        return int(done.stdout)

    def figures(self) -> dict[str, str]:
        """Every row of the table."""
        lines = {
            kind: sum(s.text.count("\n") for s in self.sources.values() if s.is_stub == kind) for kind in (False, True)
        }
        code = sum(len(source.code_lines) for source in self.sources.values())
        wiring = sum(source.wiring for source in self.sources.values())
        sizes = sorted(entry for source in self.modules.values() for entry in source.functions)
        counts = [size for size, _ in sizes]
        high = quantiles(counts, n=10)[-1]
        at_root = [name for name in self.modules if name.count(".") <= 1 and not self._is_room(name)]
        hops = {label: self.hops(*place) for label, place in EQUATIONS.items()}
        return {
            "files / lines": f"{len(self.modules)} / {lines[False]:,}",
            "stubs of faces, lines": f"{lines[True]:,}",
            "function median / 90 % / longest": f"{median(counts):.0f} / {high:.0f} / {counts[-1]}",
            "longest function without its docstring": str(max(max(s.bodies, default=0) for s in self.modules.values())),
            "longest function": sizes[-1][1].removeprefix(f"{PACKAGE}."),
            "imports, `__all__` and faces, share of code lines": f"{100 * wiring / code:.1f} %",
            "files at the package root": str(len(at_root)),
            "public top-level names that exist twice or more": str(len(self.doubled_names())),
            "file-level import cycles (typing included)": str(len(self.cycles())),
            "files that a first `captum-paramsal explain` imports": str(self.files_of_first_explain()),
            **{f"hops to the equation: {label}": str(count) for label, count in hops.items()},
            "comments per code line": f"{100 * sum(s.comments for s in self.modules.values()) / code:.1f} %",
        }

    def _linked(self, name: str) -> set[str]:
        """Files that the docstrings of a file name in a link."""
        links = re.findall(rf":\w+:`~?({PACKAGE}[\w.]*)\.(\w+)", self.modules[name].text)
        return {self._home(module, target) for module, target in links} & self.modules.keys()

    def _is_room(self, name: str) -> bool:
        return name != PACKAGE and any(other.startswith(f"{name}.") for other in self.modules)

    def _home(self, module: str, name: str) -> str:
        """The file behind ``from module import name``."""
        while name in self._faces.get(module, {}):
            module = self._faces[module][name]
        return f"{module}.{name}" if f"{module}.{name}" in self.modules else module

    def _reached(self, start: str) -> frozenset[str]:
        reached: set[str] = set()
        waiting = list(self.imports[start])
        while waiting:
            name = waiting.pop()
            if name not in reached:
                reached.add(name)
                waiting.extend(self.imports[name])
        return frozenset(reached)


def _lines(node: ast.stmt) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


def _sources(root: Path) -> Iterator[Source]:
    for path in sorted((root / PACKAGE).rglob("*.py*")):
        if path.suffix in {".py", ".pyi"}:
            parts = path.relative_to(root).with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            yield Source(name, path.read_text(encoding="utf-8"), path.suffix == ".pyi")


def _face(stub: Source) -> Iterator[tuple[str, str]]:
    for node in stub.tree.body:
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                yield alias.name, f"{stub.name}.{node.module}"


def main(folders: list[str]) -> None:
    """Print the table."""
    roots = [Path(folder).resolve() for folder in folders] or [Path(__file__).resolve().parents[2]]
    columns = [House(root).figures() for root in roots]
    print("| | " + " | ".join(root.name for root in roots) + " |")
    print("|---" * (len(columns) + 1) + "|")
    for row in columns[-1]:
        print(f"| {row} | " + " | ".join(column[row] for column in columns) + " |")


if __name__ == "__main__":
    main(sys.argv[1:])
