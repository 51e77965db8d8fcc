from dataclasses import replace

import pytest
from report.doctor.small_reports import QUICK, colour_checkup, scenes
from report.pages import Page, without_text

from captum_paramsal.report import TreatmentResult
from captum_paramsal.report.doctor import page as page_module
from captum_paramsal.report.doctor.page import doctor_page
from captum_paramsal.sources import Skipped


@pytest.fixture(scope="module")
def checkup():
    return colour_checkup()


@pytest.fixture(scope="module")
def html(checkup):
    return doctor_page(checkup)


@pytest.fixture(scope="module")
def page(html):
    return Page(html)


@pytest.fixture(scope="module")
def drawn_classes(checkup):
    return page_module.class_section(checkup)


@pytest.fixture
def classes_drawn_once(drawn_classes, monkeypatch):
    """The figure of a diagnosis takes most of a page's time, and is the same whatever the treatment."""
    monkeypatch.setattr(page_module, "class_section", lambda _: drawn_classes)


def treated(checkup, cured=3, broken=1, plain=0, **changes):
    """A result that turns the first mistakes right, and the first correct images wrong."""
    positions = tuple(range(checkup.images))
    before = tuple(item.label for item in scenes().items)
    before = tuple((label + 1) % 3 if i % 6 == 0 else label for i, label in enumerate(before))
    labels = tuple(item.label for item in scenes().items)
    wrong = [i for i in positions if i % 6 == 0]
    right = [i for i in positions if i % 6]
    after = list(before)
    for i in wrong[:cured]:
        after[i] = labels[i]
    for i in right[:broken]:
        after[i] = (labels[i] + 1) % 3
    control = list(before)
    for i in wrong[:plain]:
        control[i] = labels[i]
    settings = {
        "epochs": 5,
        "train": 100,
        "annotated": 100,
        "validation": 25,
        "validation_from": "training images",
        "space": 1.0,
    }
    values = {
        "positions": positions,
        "files": tuple(item.name for item in scenes().items),
        "labels": labels,
        "before": before,
        "after": tuple(after),
        "confidence": (0.9,) * len(labels),
        "plain": tuple(control),
        "plain_epoch": 3,
        "p_value": 0.6,
        "best_epoch": 2,
        "selected_on": "validation",
        "history": [{"epoch": 0.0, "validation_accuracy": 0.8}],
        "weights": {"channel": 0.1, "space": 0.2},
        "settings": settings,
    }
    return replace(checkup, treatment=TreatmentResult(**{**values, **changes}))


def test_one_file_that_loads_nothing(page, html):
    names = {tag for tag, _ in page.elements}
    assert not names & {"link", "iframe", "object"}
    assert page.all("script") == [{}]
    for _, attributes in page.elements:
        for key in ("src", "href", "xlink:href", "data"):
            assert attributes.get(key, "#").startswith(("#", "data:image/"))
        assert not any(key.startswith("on") for key in attributes)
    assert "http" not in html


def test_ids_are_unique_and_links_lead_somewhere(page):
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    targets = {attributes["href"][1:] for attributes in page.all("a")}
    assert targets <= set(ids)


def test_names_are_escaped(html, page):
    assert "<b>blue" not in html
    assert "in <the> dark" not in html
    assert "<b>blue</b>" in page.text
    assert "in <the> dark" in page.text
    assert "colour & net" in page.text


def test_a_card_for_each_mistake_with_its_maps(checkup, page):
    cards = [attributes for tag, attributes in page.elements if tag == "article"]
    assert len(cards) == len(checkup.mistakes)
    maps = [attributes for attributes in page.all("div") if attributes.get("class") == "stack"]
    assert len(maps) == 2 * len(cards)
    outlines = [attributes for attributes in page.all("path") if attributes.get("class") == "outline"]
    assert len(outlines) == 2 * len(cards)
    assert outlines[0]["d"] == "M1 2L6 2M1 9L6 9M1 2L1 9M6 2L6 9"
    assert without_text(page) == []
    assert "100.0 % of the evidence; green relies on it" in page.text
    assert "beside 40 images that really show it" in page.text


def test_controls_stand_beside(page):
    assert "On mistakes more channels than usual are evidence for the wrong class" in page.text
    assert "On mistakes the background has more of the evidence than its area would give it." in page.text
    assert "it may have a part in the mistakes" in page.text
    assert "which flatters them a little" in page.text
    assert "As many channels picked at random" in page.text


def test_no_background_without_masks():
    text = Page(doctor_page(colour_checkup(scenes(masked=False)))).text
    assert "of the object" not in text
    assert "white line" not in text


def test_few_cards_and_skipped_files(checkup):
    few = colour_checkup(settings=replace(QUICK, cards=4))
    skipped = tuple(Skipped(f"{i}.png", "no such file") for i in range(250))
    text = Page(doctor_page(replace(few, skipped=skipped))).text
    assert "The 4 most confident of 20 have a card here" in text
    assert "the first 200 are listed here" in text
    assert "0.png no such file" in text
    bare = Page(doctor_page(replace(checkup, pictures={}, evidence={}))).text
    assert bare.count("no picture") == 20


def test_nothing_to_compare_with():
    text = Page(doctor_page(colour_checkup(scenes(24)))).text
    assert "too few images to compare with" in text
    assert "Before you believe it" in text


def test_no_mistake(checkup):
    text = Page(doctor_page(replace(checkup, mistakes=()))).text
    assert "Every image was classified correctly" in text
    assert "Every mistake" not in text


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, ["2 more of these images are right than before, which chance may explain as well.", "Cured"]),
        ({"cured": 9, "broken": 0, "p_value": 0.004}, ["9 more of these images are right", "more than chance would"]),
        ({"cured": 0, "broken": 8, "p_value": 0.008}, ["8 fewer of these images", "the treatment did harm"]),
        ({"cured": 1, "broken": 0}, ["1 more of these images is right than before"]),
        ({"cured": 2, "broken": 2}, ["As many images were broken as cured"]),
        ({"cured": 0, "broken": 0}, ["not a single one of these images is classified otherwise"]),
        ({"cured": 0, "broken": 0, "best_epoch": 0}, ["Nothing was gained", "The untreated weights were kept"]),
        ({"cured": 9, "broken": 0, "plain": 0}, ["they have a part in it"]),
        ({"cured": 0, "broken": 0, "plain": 9}, ["they are in the way"]),
        ({"cured": 4, "broken": 0, "plain": 4}, ["is not owed to them"]),
        ({"cured": 4, "broken": 0, "plain": 3}, ["a few more images right than fine-tuning"]),
        ({"weights": {}, "plain": None}, ["without constraints."]),
        ({"weights": {"channel": 0.1}}, ["a penalty on evidence in channels that a class should not rely on."]),
    ],
)
@pytest.mark.usefixtures("classes_drawn_once")
def test_treatment_in_plain_words(checkup, changes, words):
    text = Page(doctor_page(treated(checkup, **changes))).text
    for word in words:
        assert word in text
    assert "accuracy after" in text


def test_treatment_shows_some_of_what_changed(checkup):
    page = Page(doctor_page(treated(checkup, cured=8, broken=1)))
    assert "(6 of 8)" in page.text
    assert "fine-tuned without constraints" in page.text
    assert "now red" in page.text
    assert "--validation-labels" in page.text
