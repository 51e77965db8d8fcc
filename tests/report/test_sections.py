"""Sections that users add: on the page of their kind, before the glossary, escaped unless they are HTML."""

import pytest
from markupsafe import Markup
from report.explain.small_jobs import tiny_explanation
from report.pages import Page

from captum_paramsal.errors import ParamsalError
from captum_paramsal.report import register_section, unregister_section
from captum_paramsal.report.explain.page import explain_page

TITLE = "Who to ask?"


@pytest.fixture
def section():
    texts = []

    @register_section("explain", TITLE)
    def text(explanation):
        return texts[0](explanation)

    yield texts.append
    unregister_section("explain", TITLE)


def test_a_section_stands_before_what_every_report_ends_with(section):
    section(lambda explanation: f"{explanation.mistake_count} <mistakes>")
    page = Page(explain_page(tiny_explanation()))
    ids = [part["id"] for part in page.all("section")]
    assert ids[-3:] == ["added-who-to-ask", "glossary", "about"]
    assert f"{TITLE} 6 <mistakes>" in page.text
    assert {"href": "#added-who-to-ask"} in page.all("a")


def test_html_is_kept(section):
    section(lambda _: Markup("<p id='mine'>words</p>"))
    assert {"id": "mine"} in Page(explain_page(tiny_explanation())).all("p")


def test_nothing_to_show_is_no_section(section):
    section(lambda _: "")
    assert TITLE not in explain_page(tiny_explanation())


def test_the_data_stays_as_it_is(section):
    before = tiny_explanation().to_dict()
    section(lambda _: "words")
    assert tiny_explanation().to_dict() == before


def test_a_title_that_is_registered_again_takes_the_place_of_the_first(section):
    section(lambda _: "first")
    register_section("explain", TITLE)(lambda _: "second")
    page = explain_page(tiny_explanation())
    assert page.count(f">{TITLE}</h2>") == 1
    assert "second" in page


@pytest.mark.parametrize("call", [register_section, unregister_section])
def test_a_kind_that_there_is_not(call):
    with pytest.raises(ParamsalError, match="'triage', 'compare_models', 'cure', got 'explanation'"):
        call("explanation", TITLE)
