"""The scripts that make the pages of evidence, as modules."""

import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

from docs.pages import DOCS


@contextmanager
def loaded(*names: str) -> Iterator[dict[str, ModuleType]]:
    """Fresh modules of some scripts, by name, each of which finds those before it; afterwards all are as they were."""
    kept = {name: sys.modules.pop(name, None) for name in names}
    found = {}
    try:
        for name in names:
            spec = importlib.util.spec_from_file_location(name, DOCS / "evidence" / f"{name}.py")
            found[name] = sys.modules[name] = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(found[name])
        yield found
    finally:
        for name, module in kept.items():
            sys.modules.pop(name, None)
            if module is not None:
                sys.modules[name] = module
