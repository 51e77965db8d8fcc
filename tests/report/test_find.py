"""The controls that find cards: what stands on the page without a script, and what the script does in a browser."""

import json
import re
import shutil
import subprocess

import pytest
from report.every_kind import KINDS, strange_report
from report.explain.small_jobs import tiny_explanation, untraced_explanation
from report.pages import Page

from captum_paramsal.report.explain.page import explain_page

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run")
FLAGS += ("--disable-background-networking", "--disable-component-update", "--disable-sync")


@pytest.fixture(scope="module")
def found():
    return untraced_explanation()


@pytest.fixture(scope="module")
def html(found):
    return explain_page(found)


def test_controls_are_hidden_until_the_script_runs(html):
    page = Page(html)
    (form,) = page.all("form")
    assert "hidden" in form
    assert form["aria-label"] == "Find mistakes"
    assert all("hidden" not in card for card in page.all("article"))
    assert all(card["class"].startswith("card") for card in page.all("article"))


def test_pairs_to_choose_from_are_those_of_the_cards(found, html):
    page = Page(html)
    pairs = {f"{mistake.label}-{mistake.predicted}" for mistake in found.mistakes}
    options = {option["value"] for option in page.all("option")}
    assert pairs <= options
    assert {card["data-pairs"] for card in page.all("article")} == pairs
    named = {str(ranked.filter) for mistake in found.mistakes for ranked in mistake.filters}
    assert named <= options


def test_one_card_needs_no_controls():
    page = Page(explain_page(untraced_explanation(cards=1)))
    assert (page.all("form"), page.all("script")) == ([], [])


@pytest.mark.filterwarnings("ignore:Glyph")
@pytest.mark.parametrize("kind", KINDS)
def test_a_page_has_one_script_at_most_and_loads_none(kind, tmp_path):
    page = Page(strange_report(kind).write(tmp_path).read_text(encoding="utf-8"))
    assert len(page.all("script")) == (len(page.all("form")) > 0)
    assert all(script == {} for script in page.all("script"))


def in_browser(html, folder, steps):
    """What the steps, JavaScript that calls ``note``, noted when they ran on the page."""
    if BROWSER is None:
        pytest.skip("no Chromium on this machine, which runs the page's script")
    script = """<script>
const noted = [];
const note = () => noted.push([
  document.querySelector(".find output").textContent,
  [...document.querySelectorAll("#cards > .card:not([hidden])")].map((card) => card.id),
]);
const form = document.querySelector("form.find");
const set = (name, value) => { form.elements[name].value = value; form.requestSubmit(); note(); };
STEPS
document.body.dataset.noted = JSON.stringify(noted);
</script></body>""".replace("STEPS", steps)
    page = folder / "page.html"
    page.write_text(html.replace("</body>", script), encoding="utf-8")
    command = [BROWSER, *FLAGS, f"--user-data-dir={folder / 'profile'}", "--dump-dom", page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)  # noqa: S603 -- our own page
    noted = re.search(r'data-noted="([^"]*)"', done.stdout)
    return json.loads(noted[1].replace("&quot;", '"').replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))


@pytest.mark.slow
def test_in_a_browser(found, html, tmp_path):
    surest = sorted(found.mistakes, key=lambda mistake: -mistake.confidence)
    numbers = {mistake.position: number for number, mistake in enumerate(surest, 1)}
    pair, file = (surest[0].label, surest[0].predicted), surest[2].file
    guilty = str(surest[1].filters[0].filter)
    half = 100 * (surest[2].confidence + surest[3].confidence) / 2
    steps = f"""
note();
set("pair", "{pair[0]}-{pair[1]}"); set("pair", "");
set("words", {json.dumps(file.upper())}); set("words", "");
set("filter", {json.dumps(guilty)}); set("filter", "");
set("low", "{half}"); set("low", ""); set("high", "{half}"); set("high", "");
set("sort", "confidence"); set("sort", "-confidence"); set("sort", "file");
set("words", "nothing has this"); document.querySelector('a[href="#mistake-2"]').click(); note();
"""
    noted = in_browser(html, tmp_path, steps)
    cards = [f"mistake-{numbers[mistake.position]}" for mistake in surest]
    by_pair = [card for card, mistake in zip(cards, surest, strict=True) if (mistake.label, mistake.predicted) == pair]
    by_filter = [
        card
        for card, mistake in zip(cards, surest, strict=True)
        if any(str(ranked.filter) == guilty for ranked in mistake.filters)
    ]
    by_file = [f"mistake-{numbers[mistake.position]}" for mistake in sorted(surest, key=lambda one: _natural(one.file))]
    everything = ["All 6 mistakes shown", cards]
    assert noted == [
        everything,
        _some(by_pair), everything,
        ["1 of 6 mistakes shown", [cards[2]]], everything,
        _some(by_filter), everything,
        _some(cards[:3]), everything, _some(cards[3:]), everything,
        ["All 6 mistakes shown", cards[::-1]], everything, ["All 6 mistakes shown", by_file],
        ["0 of 6 mistakes shown", []], everything,
    ]  # fmt: skip


def _some(cards):
    return [f"{len(cards)} of 6 mistakes shown" if len(cards) < 6 else "All 6 mistakes shown", cards]


def _natural(file):
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", file)]


def test_each_picture_is_on_the_page_once():
    page = Page(explain_page(tiny_explanation()))
    photos = [image for image in page.all("image") if "id" in image]
    assert len(photos) == len({image["href"] for image in photos}) == 6
    ids = {image["id"] for image in photos}
    shown = {use["href"] for use in page.all("use") if use.get("href", "").startswith("#photo-")}
    assert shown == {f"#{one}" for one in ids}
