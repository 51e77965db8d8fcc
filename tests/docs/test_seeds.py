"""The page that goes through the papers figure by figure: no cell is empty, and each call and link exists."""

import inspect
import re
from importlib import import_module

import pytest
from docs.pages import DOCS

import captum_paramsal
from captum_paramsal.cli import main
from captum_paramsal.reproduce.registry import figure_named

PAGE = DOCS / "seeds.md"
WORDS = ("agrees", "in part", "does not", "tool only", "no:")
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in PAGE.read_text(encoding="utf-8").splitlines()
    if line.startswith("| ") and not line.startswith("| item ")
]


def anchors_of(page):
    titles = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_rows():
    assert len(ROWS) > 80
    assert not [row for row in ROWS if len(row) != 5 or not all(row)]
    assert not [row for row in ROWS if not row[4].startswith(WORDS)]


def test_figures_of_every_paper_are_in_order():
    text = PAGE.read_text(encoding="utf-8")
    assert [part.splitlines()[0] for part in text.split("\n## ")[1:]] == [
        "Parameter saliency", "POT saliency", "Discernible neurons", "Model Doctor",
    ]  # fmt: skip


@pytest.mark.parametrize("call", sorted({row[2] for row in ROWS}))
def test_calls_exist(call, capsys):
    name = re.fullmatch(r"`([^`]+)`", call)[1]
    if not name.startswith("captum-paramsal "):
        found = captum_paramsal
        for part in name.split("."):
            found = getattr(found, part, None) or import_module(f"{found.__name__}.{part}")
        assert callable(found) or inspect.ismodule(found)
        return
    command, *figure = name.split()[1:]
    with pytest.raises(SystemExit, match="0"):
        main([command, "--help"])
    assert f"captum-paramsal {command}" in capsys.readouterr().out
    if figure and figure != ["all"]:
        assert figure_named(*figure).name == figure[0]


def test_links_lead_to_headings():
    lost = []
    for row in ROWS:
        target, _, anchor = re.search(r"\]\(([^)]+)\)", row[3])[1].partition("#")
        page = DOCS / target
        if not page.exists() or (anchor and anchor not in anchors_of(page)):
            lost.append(row[3])
    assert not lost
