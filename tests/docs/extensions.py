"""The extensions of Sphinx that the pages are built with, as modules."""

import importlib.util
from functools import lru_cache

from docs.pages import DOCS


@lru_cache
def extension_named(name):
    spec = importlib.util.spec_from_file_location(f"{name}_of_docs", DOCS / "_extensions" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
