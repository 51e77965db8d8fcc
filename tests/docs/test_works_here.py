"""The table of the page is what is tested."""

from __future__ import annotations

import pytest
from cases.ways_to_run import ALIKE, METHODS, REFUSED, WAYS
from docs.pages import ROOT


def rows():
    """Cells of the table by its row."""
    lines = (ROOT / "docs" / "works_here.md").read_text(encoding="utf-8").splitlines()
    table = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    return {name: dict(zip(table[0][1:], cells, strict=True)) for name, *cells in table[2:]}


def expected(way, method):
    if (way, method) in REFUSED:
        return "no"
    return "alike" if (way, method) in ALIKE else "yes"


@pytest.mark.parametrize("way", WAYS)
def test_a_row_for_each_way(way):
    assert rows()[way] == {method: expected(way, method) for method in METHODS}


def test_no_row_without_a_test():
    assert set(rows()) == set(WAYS)
