"""The demo's reports and what the tour prints are what they were: a change of the code that moves a number shows."""

import copy
import re

import pytest
from docs.pages import DOCS, blocks_of
from golden.reports import ADDED, COMMANDS, COSTS, HERE, differences, golden, made

NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e-?\d+)?")


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_report(name, tmp_path):
    assert sorted(differences(golden(name), made(name, tmp_path))) == ADDED.get(name, [])


@pytest.mark.slow
def test_tour(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "__main__"}
    for block in blocks_of(DOCS / "tour.md"):
        if block.language == "python":
            exec(block.code, names)  # noqa: S102
    before, now = (
        [line for line in text.splitlines() if not any(cost in line for cost in COSTS)]
        for text in ((HERE / "tour.txt").read_text(), capsys.readouterr().out)
    )
    assert [NUMBER.sub("#", line) for line in now] == [NUMBER.sub("#", line) for line in before]
    for old, new in zip(before, now, strict=True):
        for was, value in zip(NUMBER.findall(old), NUMBER.findall(new), strict=True):
            # The last digit that is printed may be rounded the other way.
            assert float(value) == pytest.approx(float(was), abs=10.0 ** -len(was.partition(".")[2]), rel=1e-5), new


@pytest.mark.parametrize("name", COMMANDS)
def test_every_change_of_a_report_shows(name):
    old = golden(name)
    assert not list(differences(old, old))
    new = copy.deepcopy(old)
    new["summary"]["mistakes"] += 1
    new["summary"]["accuracy"] *= 1 + 1e-4
    del new["summary"]["skipped"]
    new["skipped"].append("one.png")
    new["more"] = 1
    assert sorted(differences(old, new)) == [
        ".skipped: 0 entries, now 1",
        f".summary.accuracy: {old['summary']['accuracy']}, now {new['summary']['accuracy']}",
        f".summary.mistakes: {old['summary']['mistakes']}, now {new['summary']['mistakes']}",
        ".summary: no skipped",
        ": more is new",
    ]
