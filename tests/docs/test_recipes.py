"""Each recipe is numbered, has code that runs with the other pages, and says where there is more."""

import re

from docs.pages import DOCS, blocks_of

PAGE = DOCS / "recipes.md"


def recipes():
    """The text of each recipe by its number."""
    parts = re.split(r"^### (\d+)\. ", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    return dict(zip(map(int, parts[::2]), parts[1::2], strict=True))


def test_there_are_twenty_five():
    assert list(recipes()) == list(range(1, 26))


def test_each_runs_and_leads_on():
    for number, text in recipes().items():
        assert text.startswith("I have "), number
        assert text.count("```python\n") == 1, number
        *_, more = [part for part in text.split("\n\n") if not part.startswith("#") and part.strip()]
        assert re.match(r"More: \{doc\}`", more), number
        pages = re.findall(r"\{doc\}`([^`]+)`", more)
        assert all((DOCS / f"{page}.md").exists() or (DOCS / f"{page}.ipynb").exists() for page in pages), number


def test_nothing_runs_but_recipes_and_what_they_share():
    assert sum(block.language == "python" for block in blocks_of(PAGE)) == 26
