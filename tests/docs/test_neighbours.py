"""The table of what fails elsewhere: each row has a public report and code that runs here."""

import re

from docs.pages import DOCS, blocks_of

PAGE = DOCS / "neighbours.md"
NEIGHBOURS = ["Captum", "pytorch-grad-cam", "torch-cam", "zennit", "Quantus", "Torch-Pruning", "FiftyOne", "cleanlab"]
REPORT = re.compile(
    r"\[(?P<name>[\w-]+) (?P<number>\d+)\]\(https://github\.com/[\w.-]+/(?P<place>[\w.-]+)/issues/(?P=number)\)"
)


def rows(text):
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]


def test_every_neighbour_has_a_row():
    table, _ = PAGE.read_text(encoding="utf-8").split("## What fails elsewhere")
    names = [re.match(r"\[([^\]]+)\]", row[0])[1] for row in rows(table)[2:]]
    assert names == NEIGHBOURS


def test_each_failure_has_a_report_and_code():
    _, text = PAGE.read_text(encoding="utf-8").split("## What fails elsewhere")
    failures = rows(text)[2:]
    assert [row[0] for row in failures] == [str(number) for number in range(1, len(failures) + 1)]
    assert len(failures) >= 8
    headings = re.findall(r"^### (.+)$", text, flags=re.MULTILINE)
    anchors = [re.search(r"\(#([\w-]+)\)", row[2])[1] for row in failures]
    assert anchors == [heading.lower().replace(" ", "-") for heading in headings]
    for row in failures:
        found = REPORT.findall(row[1])
        assert found, row
        assert all(name.lower() in place.lower() for name, _, place in found), row


def test_code_under_every_heading():
    text = PAGE.read_text(encoding="utf-8")
    lines = [block.line for block in blocks_of(PAGE) if block.language == "python"]
    headings = [n for n, line in enumerate(text.splitlines(), start=1) if line.startswith("### ")]
    for heading, following in zip(headings, [*headings[1:], 10**6], strict=True):
        assert any(heading < line < following for line in lines), heading
