import csv
import io
import json

import pytest

from captum_paramsal.files import as_csv, as_json, readable

LIVE = ["=1+1", "+1", "-1+cmd|' /C calc'!A0", "@SUM(1)", "\t=1", "\r=1", "\n=1", "  =1", "＝1+1", '=HYPERLINK("x")']  # noqa: RUF001


@pytest.mark.parametrize("text", LIVE)
def test_no_cell_of_a_table_is_run(text):
    table = as_csv([{"file": text, text: text}], ["file", text])
    for row in csv.reader(io.StringIO(table, newline="")):
        assert not any(cell.lstrip(" ").startswith(("=", "+", "-", "@", "\t", "\r", "\n", "＝")) for cell in row)  # noqa: RUF001


def test_numbers_and_names_in_tables_are_what_they_are():
    rows = [{"a": -0.5, "b": "-0.5", "c": None, "d": "it's a = b", "e": "-1e-05"}]
    assert as_csv(rows, "abcdef") == "a,b,c,d,e,f\n-0.5,-0.5,,it's a = b,-1e-05,\n"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\x1b[31mred\x0b\x07.png", r"a\x1b[31mred\x0b\x07.png"),
        ("rtl\u202egnp.exe", r"rtl\u202egnp.exe"),
        ("caf\udce9.png", r"caf\xe9.png"),
        ("\ud800 \ufffe \x85", r"\ud800 \ufffe \x85"),
        ("two\nlines\tand é 猫 🐈 \u200f", "two\nlines\tand é 猫 🐈 \u200f"),
    ],
)
def test_what_nobody_can_show_is_escaped(text, shown):
    assert readable(text) == shown
    assert readable(shown) == shown
    shown.encode()


def test_json_keeps_names_that_are_no_utf_8():
    content = {"names": [{"file": "caf\udce9.png"}], "class": "\ud800é"}
    text = as_json(content)
    assert json.loads(text.encode()) == content
    assert "é" in text
