"""Sphinx's configuration; ``python -m sphinx -W --keep-going -b html docs docs/_build/html`` builds the pages."""

import os
import sys
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

DOCS = Path(__file__).parent
sys.path[:0] = [str(DOCS / "_extensions"), str(DOCS.parent)]

from captum_paramsal import __version__  # noqa: E402 -- found through the path above

# The tutorials run in a process of their own, which looks for the package in the same place.
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(DOCS.parent), os.environ.get("PYTHONPATH")]))

_PROJECT = tomllib.loads((DOCS.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]

project = "captum_paramsal"
author = "The captum_paramsal developers"
copyright = author
release = version = __version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "myst_nb",
    "code_of",
    "command_help",
    "llms",
    "mathml",
    "messages",
    "notebook_links",
    "sphinx_copybutton",
    "trace_rules",
]
llms_summary = _PROJECT["description"]
notebook_repository = _PROJECT["urls"].get("Source", "")  # without an address notebooks can only be downloaded
copybutton_prompt_text = "$ "
copybutton_line_continuation_character = "\\"

# Links into other projects' pages take a network, which not every machine that checks these pages has.
if {"READTHEDOCS", "PARAMSAL_LINKED_DOCS"} & os.environ.keys():
    extensions.append("sphinx.ext.intersphinx")
    intersphinx_mapping = {
        "python": ("https://docs.python.org/3", None),
        "numpy": ("https://numpy.org/doc/stable", None),
        "torch": ("https://docs.pytorch.org/docs/stable", None),
    }
exclude_patterns = ["_build", "jupyter_execute", "**.ipynb_checkpoints"]
default_role = "py:obj"

myst_enable_extensions = ["deflist", "dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = "force"
nb_execution_timeout = 600
nb_execution_raise_on_error = True
# What a library says about the machine that the pages are built on is of no use to their readers.
nb_output_stderr = "remove"
nb_merge_streams = True

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
autodoc_type_aliases = {
    "Loss": "captum_paramsal.functional.Loss",
    "Target": "captum_paramsal.functional.Target",
}
python_use_unqualified_type_names = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False

html_theme = "furo"
html_title = f"captum_paramsal {version}"
html_math_renderer = "mathml"
html_static_path = ["_static"]
html_css_files = ["pages.css"]
