"""``llms.txt`` lists every page, with links that lead somewhere, in the form of https://llmstxt.org."""

import re

import pytest
from docs.extensions import extension_named
from docs.pages import DOCS, PAGES

LINK = re.compile(r"^- \[(?P<title>[^\]]+)\]\(_sources/(?P<page>[\w/]+)\.md\.txt\)(: .+)?$")


@pytest.fixture(scope="module")
def text():
    return extension_named("llms").llms_text(DOCS, "captum_paramsal", "One sentence.")


def test_form(text):
    """A title, a summary, what to know without headings, and sections of links alone."""
    assert text.startswith("# captum_paramsal\n\n> One sentence.\n\n")
    about, *sections = re.split(r"^## ", text, flags=re.MULTILINE)
    assert not re.search(r"^#+ ", about.removeprefix("# "), flags=re.MULTILINE)
    assert len(sections) == 3
    for section in sections:
        caption, _, *links = section.rstrip("\n").split("\n")
        assert caption
        assert links
        assert all(LINK.match(link) for link in links)


def test_every_page_of_the_contents_is_there(text):
    listed = [found["page"] for line in text.splitlines() if (found := LINK.match(line))]
    assert len(listed) == len(set(listed))
    assert all((DOCS / f"{page}.md").is_file() for page in listed)
    below = ("api", "decisions", "evidence", "schema")  # whose own contents are on their first page
    pages = {page.relative_to(DOCS).with_suffix("").as_posix() for page in PAGES if DOCS in page.parents}
    wanted = {page for page in pages if page.partition("/")[0] not in below or page.endswith("/index")}
    assert set(listed) == wanted - {"index"}


def test_links_say_what_is_there(text):
    said = dict(re.findall(r"\[([^\]]+)\]\(_sources/[^)]+\)(?:: (.+))?$", text, flags=re.MULTILINE))
    assert said["Bound memory"].startswith("A pass keeps what training keeps")
    assert said["Contributing"] == "" or said["Contributing"][0].isupper()
    assert not [title for title, sentence in said.items() if "{" in sentence or "](" in sentence]
    assert not [title for title, sentence in said.items() if 0 < len(sentence) < 15]


def test_what_it_says_to_know_is_short():
    assert len(extension_named("llms").ABOUT) < 2500
