"""The page on troubleshooting has every class of error, and each message as it is printed."""

import contextlib
import inspect
import io
import re

from docs.pages import DOCS, blocks_of

from captum_paramsal import errors

PAGE = DOCS / "troubleshooting.md"


def test_messages_are_those_that_are_printed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names, printed, compared = {"__name__": "__main__"}, "", 0
    for block in blocks_of(PAGE):
        if block.language == "text":
            # Where PyTorch's own words differ between versions, the page leaves some out.
            wanted = ".*".join(map(re.escape, " ".join(block.code.split()).split("[...]")))
            assert re.fullmatch(wanted, " ".join(printed.split())), f"line {block.line}:\n{printed}"
            compared += 1
            continue
        with contextlib.redirect_stdout(io.StringIO()) as output:
            exec(compile("\n" * (block.line - 1) + block.code, str(PAGE), "exec"), names)  # noqa: S102
        printed = output.getvalue()
    assert compared >= 14


def test_every_class_has_an_entry():
    headings = " ".join(line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("#"))
    classes = [
        name for name, value in vars(errors).items() if inspect.isclass(value) and value.__module__ == errors.__name__
    ]
    missing = [name for name in classes if name not in headings and name != "ParamsalError"]
    assert not missing
