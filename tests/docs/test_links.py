"""Links lead somewhere, and the README says how to set up."""

import re

import pytest
from docs.pages import DOCS, PAGES, ROOT, blocks_of, links_of, name_of


@pytest.mark.parametrize("page", [page for page in PAGES if links_of(page)], ids=name_of)
def test_local_links(page):
    assert not [target for target in links_of(page) if not (page.parent / target).exists()]


@pytest.mark.parametrize(
    ("mark", "command"),
    [
        ("run", "python -m pip install . && captum-paramsal explain"),
        ("test", 'python -m pip install -e ".[test]" && python -m pytest -n auto'),
    ],
)
def test_marked_commands(mark, command):
    found = re.findall(
        rf"^<!-- ci: {mark} -->\n```bash\n(.*?)\n```$",
        (ROOT / "README.md").read_text(encoding="utf-8"),
        re.MULTILINE | re.DOTALL,
    )
    assert found == [command]


def test_readme_starts_with_what_it_is_for():
    title, _, *vision, blank = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()[:6]
    assert title == "# captum_paramsal"
    assert len(vision) == 3
    assert all(vision)
    assert not blank


def test_every_page_is_in_the_contents():
    listed = set()
    for page in PAGES:
        for block in blocks_of(page):
            if block.language == "{toctree}":
                names = [line for line in block.code.splitlines() if line and not line.startswith(":")]
                listed |= {(page.parent / name).relative_to(DOCS).as_posix() for name in names}
    pages = {page.relative_to(DOCS).with_suffix("").as_posix() for page in PAGES if DOCS in page.parents}
    assert pages - listed == {"index"}
