"""The numbers of every report in words: each name leads to an entry of the glossary, and each entry has a name."""

import pytest
from report.every_kind import KINDS, strange_report
from report.pages import Page

from captum_paramsal.report.shared.glossary import GLOSSARY, term


@pytest.mark.usefixtures("undrawn")
@pytest.mark.filterwarnings("ignore:Glyph")
@pytest.mark.parametrize("kind", KINDS)
def test_every_page_explains_the_numbers_that_it_names(kind, tmp_path):
    page = Page(strange_report(kind).write(tmp_path).read_text(encoding="utf-8"))
    named = {link["href"].removeprefix("#term-") for link in page.all("a") if link["href"].startswith("#term-")}
    explained = [entry["id"].removeprefix("term-") for entry in page.all("dt") if "id" in entry]
    assert sorted(named) == sorted(explained)
    assert named <= GLOSSARY.keys()
    for key in named:
        assert GLOSSARY[key][1] in page.text
    assert all(link["title"] for link in page.all("a") if link.get("class") == "term")


@pytest.mark.parametrize("key", GLOSSARY)
def test_an_entry_is_a_sentence(key):
    name, words = GLOSSARY[key]
    assert name == name.strip() != ""
    assert words.endswith(".")
    assert f'href="#term-{key}"' in term(key)
