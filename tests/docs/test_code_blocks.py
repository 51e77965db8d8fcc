"""The code of the README and of the docs runs as it stands, page by page."""

import shlex
from contextlib import ExitStack
from unittest.mock import patch

import pytest
from docs.pages import PAGES, blocks_of, name_of

from captum_paramsal import demo
from captum_paramsal.cli import main
from captum_paramsal.comparison import presets
from captum_paramsal.demo import load_scenes
from captum_paramsal.graph import registry as trace_rules
from captum_paramsal.hooks import rules
from captum_paramsal.metrics import registry as metrics

MARKED = "python -m pip"  # the README's set-up commands, which a fresh machine runs


def runnable(page):
    return [
        block
        for block in blocks_of(page)
        if block.language == "python" or (block.language == "bash" and not block.code.startswith(MARKED))
    ]


# The first repeats the README's commands, and docs/pictures.py runs the second. What the others do, the tour's code,
# the doctests and the commands' own tests do on less; the last two pages have tests of their own.
SLOW = (
    "docs/index.md",
    "docs/gallery.md",
    "docs/howto/annotate.md",
    "docs/howto/compare.md",
    "docs/howto/compare_models.md",
    "docs/howto/cure.md",
    "docs/howto/memory.md",
    "docs/howto/own_filter_score.md",
    "docs/howto/own_report_section.md",
    "docs/howto/dense_targets.md",
    "docs/howto/intervene.md",
    "docs/howto/metrics.md",
    "docs/howto/own_model.md",
    "docs/howto/reference.md",
    "docs/howto/reproduce.md",
    "docs/howto/treat.md",
    "docs/howto/triage.md",
    "docs/methods/discernible_neurons.md",
    "docs/methods/model_doctor.md",
    "docs/methods/pot_saliency.md",
    "docs/troubleshooting.md",
    "docs/works_here.md",
)
WITH_CODE = [page for page in PAGES if runnable(page)]


@pytest.mark.slow
@pytest.mark.parametrize("page", [pytest.param(page, id=name_of(page)) for page in WITH_CODE])
def test_code_runs(page, tmp_path, monkeypatch):
    run_code(page, tmp_path, monkeypatch)


@pytest.mark.parametrize("page", [pytest.param(p, id=name_of(p)) for p in WITH_CODE if name_of(p) not in SLOW])
def test_code_runs_on_few_scenes(page, tmp_path, monkeypatch):
    monkeypatch.setattr(demo, "load_scenes", few_scenes)
    run_code(page, tmp_path, monkeypatch)


def run_code(page, folder, monkeypatch):
    monkeypatch.chdir(folder)
    names = {"__name__": "__main__"}
    with ExitStack() as stack:
        # What a page registers ends with it.
        for registered in (rules._rules, trace_rules._rules, presets._presets, metrics._metrics):
            stack.enter_context(patch.dict(registered))
        for block in runnable(page):
            if block.language == "bash":
                run_commands(block.code)
            else:
                # Empty lines in front keep the line numbers of the page in a traceback.
                exec(compile("\n" * (block.line - 1) + block.code, str(page), "exec"), names)  # noqa: S102


def few_scenes(split="test"):
    """As few as a tail takes, and of the others mistakes of every kind."""
    return load_scenes(split)[: 60 if split == "test" else 210]


def run_commands(code):
    for line in code.replace("\\\n", " ").splitlines():
        program, *arguments = shlex.split(line)
        assert program == "captum-paramsal", f"only its own command is run from a page, not {program}"
        assert main(arguments) == 0


def test_pages_have_code():
    assert sum(len(runnable(page)) for page in PAGES) >= 20
