"""The way through a guilty filter: it is what the trace gives, in data, table and page, and what is missing is told."""

import csv
import json
import re
from dataclasses import replace

import pytest
import torch
from report.explain.small_jobs import CLASSES, tiny_explanation, tiny_images, tiny_net
from report.pages import Page, without_text

from captum_paramsal import DiscernibleNeurons, ParamsalError
from captum_paramsal.report import ExplainSettings, Explanation, explain
from captum_paramsal.report.explain.page import explain_page
from captum_paramsal.report.explain.trace_records import FilterPath, LayerShare


def _ways(page):
    return [one for one in page.all("div") if one.get("class") == "way"]


def _sentences(html):
    captions = re.findall(r'<figure class="path"><figcaption[^>]*>(.*?)</figcaption>', html, re.DOTALL)
    return [" ".join(re.sub("<[^>]+>", "", caption).split()) for caption in captions]


def _most_confident(found):
    return sorted(found.mistakes, key=lambda one: -one.confidence)


def test_every_number_is_that_of_the_trace(found):
    images, method = next(tiny_images().batches(24)).inputs, DiscernibleNeurons(tiny_net())
    assert set(found.paths) == {one.position for one in found.mistakes}
    for one in found.mistakes:
        path, image = found.paths[one.position], images[one.position : one.position + 1]
        ways = [method.trace(image, one.predicted, through=ranked.filter) for ranked in one.filters]
        passed = [rank for rank, way in enumerate(ways, 1) if way.reached[0]]
        assert (path.tried, path.rank) == (4, passed[0] if passed else None)
        if not passed:
            assert path == FilterPath(4)
            continue
        whole, way = method.trace(image, one.predicted), ways[path.rank - 1]
        assert path.share == len(way.layers["input"]) / len(whole.layers["input"])
        assert (path.places, path.pixels) == (len(way.filter_places()), len(way.points(0, outliers=True)))
        counts = [LayerShare(name, len(way.layers[name]), len(whole.layers[name])) for name in whole.layers]
        assert list(path.layers) == [layer for layer in counts if layer.whole]
    assert {path.rank for path in found.paths.values()} - {None}


def test_drawn_where_the_way_leads(found):
    images, model = next(tiny_images().batches(24)).inputs, tiny_net()
    sides = {"0": 3, "2": 5}
    for one in found.mistakes:
        path, drawing = found.paths[one.position], found.path_drawings.get(one.position)
        assert (drawing is None) == (path.rank is None)
        if drawing is None:
            continue
        item = one.filters[path.rank - 1].filter
        way = DiscernibleNeurons(model).trace(images[one.position][None], one.predicted, through=item)
        assert list(drawing.places) == [tuple(place) for place in way.filter_places().tolist()]
        assert list(drawing.points) == [tuple(point) for point in way.points(0, outliers=True).tolist()]
        y, x = drawing.places[0]
        assert drawing.box == (x, y, sides[item.layer], sides[item.layer])
        with torch.no_grad():
            shown = model[: int(item.layer) + 1](images[one.position][None])[0, item.index]
        assert drawing.size == tuple(shown.shape)
        assert (drawing.map.height, drawing.map.width) == drawing.size


def test_data_and_table(found, tmp_path):
    found.write(tmp_path)
    assert Explanation.load(tmp_path).paths == found.paths
    assert json.loads((tmp_path / "explanation.json").read_text())["paths"].keys() == set(map(str, found.paths))
    rows = list(csv.DictReader((tmp_path / "filters.csv").read_text().splitlines()))
    for number, one in enumerate(found.mistakes):
        path, mine = found.paths[one.position], [row["path_share"] for row in rows[4 * number : 4 * number + 4]]
        looked_at = path.rank or path.tried
        assert mine[looked_at:] == [""] * (4 - looked_at)
        assert [float(share) for share in mine[: looked_at - 1]] == [0.0] * (looked_at - 1)
        assert float(mine[looked_at - 1]) == (path.share if path.rank else 0.0)


def test_page_has_a_picture_with_words_for_each(found, page):
    passed = [one for one in _most_confident(found) if found.paths[one.position].rank]
    ways = _ways(page)
    assert len(ways) == len(passed)
    for one, way in zip(passed, ways, strict=True):
        path = found.paths[one.position]
        item = one.filters[path.rank - 1].filter
        assert way["role"] == "img"
        assert way["aria-label"].startswith(
            f"From the class {found.class_name(one.predicted)} through the filter {item},"
        )
        assert f" to {path.pixels} pixel" in way["aria-label"]
    assert without_text(page) == []


NOTHING = "Nothing of the evidence for {seen} that its trace keeps passes through {first}, the guiltiest filter"


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        (
            FilterPath(4, 1, 0.25, 1, 2),
            "25.0 % of the evidence for {seen} passes through {first}, the guiltiest filter.",
        ),
        (
            FilterPath(4, 2, 0.0004, 1, 1),
            f"{NOTHING}. &lt; 0.1 % of it passes through {{second}}, number 2 in the list.",
        ),
        (FilterPath(2), f"{NOTHING}, nor through the next."),
        (FilterPath(4), f"{NOTHING}, nor through the next 3."),
        (FilterPath(1), f"{NOTHING}."),
        (
            FilterPath(4, 1, 0.0, 1, 0),
            "The evidence for {seen} passes, and does not get to the pixels, through {first}, the guiltiest filter.",
        ),
    ],
)
@pytest.mark.usefixtures("undrawn")
def test_what_is_said(found, path, sentence):
    one = found.mistakes[0]
    alone = replace(found, mistakes=(one,), neighbors={}, paths={one.position: path}, path_drawings={})
    html = explain_page(alone)
    first, second = (ranked.filter for ranked in one.filters[:2])
    seen = found.class_name(one.predicted).replace("<", "&lt;").replace(">", "&gt;")
    assert _sentences(html) == [sentence.format(seen=seen, first=first, second=second)]
    assert _ways(Page(html)) == []


@pytest.mark.usefixtures("undrawn")
def test_of_the_first_mistakes_alone():
    found = tiny_explanation(paths=2)
    assert list(found.paths) == [one.position for one in _most_confident(found)[:2]]
    html = explain_page(found)
    assert len(_sentences(html)) == 2
    assert "The first 2 show the way from the wrong class" in Page(html).text
    assert found.paths == {position: tiny_explanation().paths[position] for position in found.paths}


@pytest.mark.parametrize("options", [{"paths": 0}, {"traces": False}])
@pytest.mark.usefixtures("undrawn")
def test_left_out(options):
    found = tiny_explanation(**options)
    assert (found.paths, found.path_drawings) == ({}, {})
    assert "way through a filter" not in Page(explain_page(found)).text
    assert {row["path_share"] for row in found.to_table()} == {None}


def test_a_number_below_zero():
    with pytest.raises(ParamsalError, match="`paths` to be at least 0, got -1"):
        ExplainSettings(paths=-1)


def test_images_that_cannot_be_shown_have_the_sentence():
    images = tiny_images()
    images.picture = lambda _position: None
    found = tiny_explanation(images=images)
    assert found.paths == tiny_explanation().paths
    assert found.path_drawings == {}
    html = explain_page(found)
    assert len(_sentences(html)) == len(found.mistakes)
    assert _ways(Page(html)) == []


def test_what_the_filter_looks_for_stands_beside_its_map():
    settings = ExplainSettings(top_k=4, pixels=False, show_progress=False)
    found = explain(tiny_net(), tiny_images(), settings=settings, classes=CLASSES)
    html = explain_page(found)
    known = {one.filter for one in found.exemplars.filters}
    chosen = [one.filters[path.rank - 1].filter for one in found.mistakes if (path := found.paths[one.position]).rank]
    crops = re.findall(r'<div class="crops">(.*?)</div>', html, re.DOTALL)
    assert len(crops) == sum(item in known for item in chosen) > 0
    assert all(part.count('<use href="#crop-') == 3 for part in crops)
    ids = [attributes["id"] for _, attributes in Page(html).elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'<use href="#([^"]+)"', html)) <= set(ids)
