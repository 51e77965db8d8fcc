from dataclasses import replace

import pytest
import torch
from report.explain.small_jobs import tiny_explanation, tiny_images, tiny_net, untraced_explanation
from report.pages import Page, without_text

from captum_paramsal.report.explain.page import explain_page
from captum_paramsal.sources import LabelledTensors, Skipped


@pytest.fixture(scope="module")
def html():
    return explain_page(tiny_explanation())


@pytest.fixture(scope="module")
def page(html):
    return Page(html)


def test_one_file_that_loads_nothing(page, html):
    names = {tag for tag, _ in page.elements}
    assert not names & {"link", "iframe", "object"}
    assert page.all("script") == [{}]
    for _, attributes in page.elements:
        for key in ("src", "href", "xlink:href", "data"):
            assert attributes.get(key, "#").startswith(("#", "data:image/"))
        assert not any(key.startswith("on") for key in attributes)
    assert "http" not in html
    assert "@import" not in html


def photos_of(page):
    return [svg for svg in page.all("svg") if svg.get("class", "").startswith("photo") and "aria-label" in svg]


def maps_of(page):
    return [image for image in page.all("img") if "pixels that drive" in image["alt"]]


def test_every_picture_has_a_text(page):
    assert without_text(page) == []
    assert len(maps_of(page)) == 6
    assert len(page.all("img")) == 6 * (1 + 2)
    cards, profiles, neurons = 6, 6 + 1, 2 * 2
    drawn = [svg for svg in page.all("svg") if svg.get("role") == "img"]
    assert len(drawn) - len(photos_of(page)) == profiles + neurons
    assert len(photos_of(page)) > cards


def test_every_link_leads_somewhere_and_every_id_is_unique(page):
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    links = {link["href"].removeprefix("#") for link in page.all("a")}
    assert links <= set(ids)
    references = {value for _, attrs in page.elements if (value := attrs.get("aria-labelledby"))}
    assert references <= set(ids)


def test_says_what_was_found(page):
    assert "6 of 24 images wrong?" in page.text
    assert "accuracy 75.0 %" in page.text
    assert "compared with what is usual for each filter on these same 24 images" in page.text
    assert "in <the> dark" in page.text
    assert "photo 20.png" in page.text


def test_cards_come_surest_first(page):
    found = tiny_explanation()
    surest = sorted(found.mistakes, key=lambda mistake: -mistake.confidence)
    places = [page.text.index(mistake.file) for mistake in surest]
    assert places == sorted(places)


def test_names_are_escaped(html):
    assert "<b>axolotl" not in html
    assert "&lt;b&gt;axolotl&lt;/b&gt;" in html
    assert "tiny &amp; net" in html


def test_the_rest_of_many_mistakes_is_in_the_data():
    page = Page(explain_page(untraced_explanation(cards=2)))
    assert "The 2 most confident of 6 have a card here" in page.text
    assert len(maps_of(page)) == 2


def test_skipped_files_are_listed():
    images = tiny_images()
    images.skipped = [Skipped(f"broken{i}.jpg", "image file is truncated") for i in range(250)]
    page = Page(explain_page(untraced_explanation(images=images)))
    assert "250 files were left out; the first 200 are listed here" in page.text
    assert "broken0.jpg image file is truncated" in page.text
    assert "broken200.jpg" not in page.text


def test_no_mistakes():
    images = tiny_images()
    with torch.no_grad():
        labels = tiny_net()(next(images.batches(24)).inputs).argmax(1)
    page = Page(explain_page(untraced_explanation(images=LabelledTensors(images._images, labels, images._prepare))))
    assert "nothing to blame" in page.text
    assert "none of 24 images wrong?" in page.text
    assert page.all("svg") == []


def test_pixel_maps_can_be_left_out(page):
    assert "A pixel map" in page.text
    without = Page(explain_page(untraced_explanation(pixels=False)))
    assert without.all("img") == []
    assert "pixel map" not in without.text


def test_an_image_without_a_pixel_map():
    found = tiny_explanation()
    first = found.mistakes[0].position
    maps = {position: picture for position, picture in found.maps.items() if position != first}
    page = Page(explain_page(replace(found, maps=maps)))
    assert page.text.count("no pixel map: no pixel moves the scores") == 1
    assert len(maps_of(page)) == 6 - 1


def test_images_that_cannot_be_shown():
    images = tiny_images()
    images.picture = lambda _position: None
    page = Page(explain_page(untraced_explanation(images=images)))
    assert page.all("img") == photos_of(page) == []
    assert page.text.count("no picture") == 6
