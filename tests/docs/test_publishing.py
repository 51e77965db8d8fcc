"""What a host of the pages, a package index and conda are told agrees with pyproject.toml."""

import json
import os
import re
import subprocess
import sys

import pytest
from docs.extensions import extension_named
from docs.pages import DOCS, ROOT
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from captum_paramsal import __version__

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = PYPROJECT["project"]
RECIPE = (ROOT / "docs" / "conda" / "recipe.yaml").read_text(encoding="utf-8")

CONDA = {"torch": "pytorch", "matplotlib": "matplotlib-base", "lazy-loader": "lazy_loader"}
"""Names that conda-forge has for packages of the index."""


def conf(**environment):
    """Settings of Sphinx, read in a process of its own, since reading them changes paths."""
    program = (
        "import json, runpy; found = runpy.run_path('docs/conf.py'); "
        "print(json.dumps({name: found.get(name) for name in ('extensions', 'intersphinx_mapping', 'html_title', "
        "'notebook_repository', 'llms_summary')}))"
    )
    plain = {name: value for name, value in os.environ.items() if name not in ("READTHEDOCS", "PARAMSAL_LINKED_DOCS")}
    run = subprocess.run(  # noqa: S603
        [sys.executable, "-c", program], cwd=ROOT, env=plain | environment, capture_output=True, text=True, check=True
    )
    return json.loads(run.stdout)


def test_pages_need_no_network():
    found = conf()
    assert "sphinx.ext.intersphinx" not in found["extensions"]
    assert found["llms_summary"] == PROJECT["description"]
    assert __version__ in found["html_title"]


@pytest.mark.parametrize("variable", ["READTHEDOCS", "PARAMSAL_LINKED_DOCS"])
def test_a_host_links_to_other_pages(variable):
    found = conf(**{variable: "True"})
    assert "sphinx.ext.intersphinx" in found["extensions"]
    assert {"python", "torch"} <= set(found["intersphinx_mapping"])


def test_the_host_installs_what_the_pages_need():
    config = (ROOT / ".readthedocs.yaml").read_text(encoding="utf-8")
    (extra,) = re.findall(r"extra_requirements: \[(\w+)\]", config)
    assert extra in PROJECT["optional-dependencies"]
    (path,) = re.findall(r"configuration: (\S+)", config)
    assert (ROOT / path).is_file()


def test_notebooks_can_be_taken_along():
    links = extension_named("notebook_links").links_of
    name = "tutorials/from_mistakes_to_a_patch"
    assert (DOCS / f"{name}.ipynb").is_file()
    assert (ROOT / f"{name}.ipynb").is_file()
    assert links(name, "") == "{download}`Download this notebook <from_mistakes_to_a_patch.ipynb>`"
    known = links(name, "https://github.com/owner/place")
    for host in ("https://colab.research.google.com/github/", "https://nbviewer.org/github/", "https://github.com/"):
        assert f"({host}owner/place/blob/main/{name}.ipynb)" in known


def below(key):
    """Items of a list of the recipe, under the last heading of that name."""
    found = re.search(rf"^( *){key}:\n((?:\1  - .*\n)+)", RECIPE, flags=re.MULTILINE)
    return [line.strip().removeprefix("- ") for line in found[2].splitlines()]


def test_conda_needs_what_pip_needs():
    wanted = {}
    for line in PROJECT["dependencies"]:
        requirement = Requirement(line)
        wanted[CONDA.get(requirement.name, canonicalize_name(requirement.name))] = str(requirement.specifier)
    wanted["python"] = ">=${{ python_min }}"
    assert dict(item.split(" ", 1) for item in below("run")) == wanted
    assert f'python_min: "{PROJECT["requires-python"].removeprefix(">=")}"' in RECIPE


def test_conda_builds_as_pip_does():
    host = dict(item.partition(" ")[::2] for item in below("host"))
    for line in PYPROJECT["build-system"]["requires"]:
        requirement = Requirement(line)
        assert host[requirement.name] == str(requirement.specifier)
    for command, target in PROJECT["scripts"].items():
        assert f"- {command} = {target}" in RECIPE


def test_conda_has_the_same_version_and_licence():
    assert f'version: "{__version__}"' in RECIPE
    assert f"license: {PROJECT['license']}" in RECIPE


def test_python_versions_are_named():
    lowest = PROJECT["requires-python"].removeprefix(">=")
    named = [line.rpartition(":: ")[2] for line in PROJECT["classifiers"] if re.search(r":: 3\.\d+$", line)]
    assert named[0] == lowest
    ci = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    assert set(re.findall(r'"(3\.\d+)"', ci)) <= set(named)


def test_urls_are_urls():
    assert all(url.startswith("https://") for url in PROJECT["urls"].values())
