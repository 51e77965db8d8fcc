import csv
import json
import re
import shutil
from dataclasses import replace

import pytest
import torch
from cases.undrawn import undrawn
from report.compare.small_comparisons import WithSkipped, small_comparison, small_images
from report.pages import Page

from captum_paramsal.comparison import Comparison, Failure
from captum_paramsal.comparison.cost import COST
from captum_paramsal.errors import InputError, ParamsalError
from captum_paramsal.metrics import METRICS
from captum_paramsal.report import ComparisonReport
from captum_paramsal.report.compare.page import compare_page
from captum_paramsal.report.compare.page_words import baseline_words, plain_words, unit_of_mean


@pytest.fixture(scope="module")
def found():
    """With a degenerate map, a method that failed, and a file that was skipped."""
    found = small_comparison(WithSkipped.of(small_images()))
    comparison = found.comparison
    degenerate = comparison.degenerate.clone()
    degenerate[1, 0] = True
    scores = comparison.scores.clone()
    scores[1, :, 0] = torch.nan
    maps = tuple(one.clone() for one in comparison.maps)
    maps[0][1] = 0
    maps[1][0] = torch.nan
    failure = Failure("saliency", 1, "maps", "RuntimeError: <b>no</b> gradient")
    changed = replace(comparison, degenerate=degenerate, scores=scores, maps=maps, failures=(failure,))
    return replace(found, comparison=changed)


@pytest.fixture(scope="module")
def written(found, tmp_path_factory):
    """The folder of its files, which no test changes."""
    folder = tmp_path_factory.mktemp("comparison")
    with undrawn():
        assert found.write(folder) == folder / "report.html"
    return folder


@pytest.fixture(scope="module")
def html(found):
    return compare_page(found)


@pytest.fixture(scope="module")
def page(html):
    return Page(html)


def test_one_file_without_scripts_or_addresses(html, page):
    assert not {tag for tag, _ in page.elements} & {"script", "link", "iframe", "object", "b"}
    for _, attributes in page.elements:
        for key in ("src", "href", "xlink:href"):
            assert attributes.get(key, "#").startswith(("#", "data:image/"))
    assert "http" not in html


def test_every_picture_has_a_text_and_every_link_leads_somewhere(page):
    assert len(page.all("img")) == 3 * (1 + 3)
    assert all(image["alt"] for image in page.all("img"))
    assert all(drawing["role"] == "img" and drawing["aria-label"] for drawing in page.all("svg"))
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len({*ids})
    assert {link["href"].removeprefix("#") for link in page.all("a")} <= {*ids}
    assert {value for _, attributes in page.elements if (value := attributes.get("aria-labelledby"))} <= {*ids}


def test_what_went_wrong_is_said(page):
    assert "RuntimeError: <b>no</b> gradient" in page.text
    assert "<photo> 0" in page.text
    alts = [image["alt"] for image in page.all("img")]
    assert sum(alt.endswith(": zero everywhere") for alt in alts) == 1
    assert sum(alt.endswith(": failed") for alt in alts) == 1
    assert "broken.jpg" in page.text


def test_mistakes_and_correct_images_are_apart(found, page):
    groups = found.groups
    assert {name: len(part) for name, part in groups.items()} == {
        "mistakes": int(found.wrong.sum()),
        "correct": int((~found.wrong).sum()),
    }
    assert "Mistakes (" in page.text
    assert "Correctly classified (" in page.text
    rows = [row for row in found.to_dict()["table"] if row["metric"] == "sparsity" and row["method"] == "saliency"]
    assert [row["group"] for row in rows] == ["all", *groups]
    assert rows[1]["mean"] == pytest.approx(float(groups[rows[1]["group"]].column("sparsity")[0].nanmean()))


@pytest.mark.usefixtures("undrawn")
def test_noise_is_never_the_best():
    found = small_comparison(methods=["saliency", "grad_cam", "random"], metrics=["sensitivity"], shown=0)
    assert float(found.comparison.column("sensitivity")[2].nan_to_num().max()) == 0
    verdict = next(one for one in Page(compare_page(found)).text.split(". ") if "has the best mean" in one)
    assert "random has" not in verdict


@pytest.mark.parametrize("note", [*(column for make in METRICS.values() for column in make().columns), *COST])
def test_every_metric_is_explained_in_words_of_its_own(note):
    assert plain_words(note) != note.description


def test_words_units_and_directions_are_on_the_page(found, page):
    for note in found.comparison.columns:
        assert " ".join(plain_words(note).split()) in page.text
        better = f"{note.better} is better" if note.better else "neither end is better"
        assert f"{note.name} {unit_of_mean(note)}; {better}" in page.text
        arrow = {"higher": " \N{UPWARDS ARROW}", "lower": " \N{DOWNWARDS ARROW}", "": ""}[note.better]
        assert page.text.count(f"{note.name}{arrow} {unit_of_mean(note)}") >= len(found.groups)


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("explained", ["prediction", "label"])
def test_which_class_and_which_baselines(explained):
    found = small_comparison(methods=["saliency"], metrics=["pointing_game"], explained=explained, shown=1)
    text = Page(compare_page(found)).text
    assert ("the class that the model predicts, also where that is wrong" in text) == (explained == "prediction")
    assert ("label, also where the model said another" in text) == (explained == "label")
    item, comparison = found.items[0], found.comparison
    target = item.label if explained == "label" else int(comparison.predicted[0])
    assert f"maps for {found.class_name(target)}" in text
    for name in comparison.methods[1:]:
        assert f"{name} baseline: {baseline_words(name)}" in text
        assert baseline_words(name) != baseline_words("something else")


def test_files(found, written):
    names = {"report.html", "manifest.json", "comparison.json", "comparison.csv", "comparison.safetensors"}
    assert {file.name for file in written.iterdir()} == names | {"maps.png", "metrics.png", "agreement.png"}
    content = json.loads((written / "comparison.json").read_text())
    assert content["schema_version"] == 2
    assert content["failures"][0]["file"] == found.items[1].name
    assert content["comparison"]["versions"]["torch"] == torch.__version__
    rows = list(csv.DictReader((written / "comparison.csv").read_text().splitlines()))
    assert len(rows) == len(found.items) * len(found.comparison.methods)
    scored = next(row for row in rows if row["image"] == "0" and row["method"] == "grad_cam")
    assert (scored["deletion"], scored["degenerate"], scored["file"]) == ("", "True", found.items[0].name)
    loaded = Comparison.load(written / "comparison.safetensors")
    torch.testing.assert_close(loaded.scores, found.comparison.scores, equal_nan=True)


def test_one_kind_of_image_one_method_and_no_picture():
    lone = small_comparison(small_images(1, boxes=False), methods=["grad_cam"], metrics=["sparsity"], shown=0)
    assert len(lone.groups) == 1
    page = Page(compare_page(lone))
    assert not page.all("img")
    assert "Who agrees" not in page.text
    assert "There are no" in page.text
    assert "There is 1" in page.text
    assert "has the best mean" not in page.text


def test_half_of_a_limited_number_are_mistakes():
    every = small_comparison(small_images(24), methods=["random"], metrics=["sparsity"])
    mistakes = int(every.wrong.sum())
    assert 3 <= mistakes <= 21
    some = small_comparison(small_images(24), methods=["random"], metrics=["sparsity"], limit=6)
    assert (len(some.items), int(some.wrong.sum()), some.candidates) == (6, 3, 24)
    assert some.accuracy == pytest.approx(1 - mistakes / 24)
    assert some.wrong.tolist()[:2] == [True, False]


def test_boxes_are_asked_for_only_where_there_are_some():
    names = {note.name for note in small_comparison(small_images(2), methods=["random"], metrics=()).comparison.columns}
    assert "iou" in names
    bare = small_comparison(small_images(2, boxes=False), methods=["random"], metrics=["sparsity"])
    assert bare.to_dict()["summary"]["images"] == 2
    with pytest.raises(InputError, match="Expected `boxes` for iou, got None"):
        small_comparison(small_images(2, boxes=False), methods=["random"], metrics=["iou"])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"methods": ["grad_kam"]}, "nearest: grad_cam"),
        ({"methods": ["input_space_saliency"]}, "Expected a `reference`"),
        ({"metrics": ["insertions"]}, "insertion"),
        ({"explained": "guess"}, "'prediction' or 'label', got 'guess'"),
        ({"limit": 0}, "`limit` to be at least 1, got 0"),
        ({"scale": "image"}, "'method', 'common', got 'image'"),
    ],
)
def test_wrong_settings(settings, message):
    with pytest.raises(ParamsalError, match=message):
        small_comparison(**settings)


def test_a_comparison_draws_itself(found):
    comparison = found.comparison
    grid, agreement = comparison.plot(), comparison.plot("agreement")
    assert len(grid.images) == 3 * (1 + 3)
    assert [label.get_text() for label in agreement.get_yticklabels()] == ["saliency", "grad_cam", "random"]
    assert [axes.get_title(loc="left") for axes in comparison.plot("bars")] == [one.name for one in comparison.columns]
    with pytest.raises(InputError, match="'grid', 'bars' or 'agreement', got 'pie'"):
        comparison.plot("pie")
    with pytest.raises(InputError, match="got 0 pictures"):
        replace(comparison, kept=(), pictures=(), maps=()).plot()


def test_a_written_report_is_loaded_again(found, written):
    loaded = ComparisonReport.load(written)
    assert loaded.to_dict() == found.to_dict()
    assert torch.equal(loaded.wrong, found.wrong)


def test_a_report_of_version_1_is_read(found, written, tmp_path):
    shutil.copytree(written, tmp_path, dirs_exist_ok=True)
    content = json.loads((tmp_path / "comparison.json").read_text())
    content["images_from"], content["images"] = content["images"], content.pop("items")
    content["remarks"] = content.pop("caveats")
    del content["versions"], content["classes"], content["model"]["fingerprint"]
    del content["parameters"]["scale"], content["trust"]
    (tmp_path / "comparison.json").write_text(json.dumps({**content, "schema_version": 1}))
    loaded = ComparisonReport.load(tmp_path)
    assert loaded.items == tuple(replace(item, note="", boxes=()) for item in found.items)
    assert loaded.caveats == found.caveats
    assert loaded.context["images"] == found.context["images"]
    assert loaded.scale == "map"


@pytest.mark.usefixtures("undrawn")
def test_which_to_trust_is_said_for_each_group():
    found = small_comparison(
        small_images(24),
        methods=["saliency", "grad_cam", "model_doctor", "random"],
        metrics=["deletion", "insertion", "sensitivity"],
        shown=0,
    )
    page = Page(compare_page(found))
    assert list(found.trust) == list(found.groups)
    ranked = 0
    for summary in found.trust.values():
        assert all(sentence in page.text for sentence in summary.sentences)
        for ranks in summary.ranks:
            one = ranks.methods[0]
            stars = r"( \*)?" if one.unbeaten else ""
            assert re.search(rf"{one.rank:g}{stars} {one.low:g} to {one.high:g}", page.text)
            ranked += 1
        assert page.text.count("Which measures agree") >= bool(summary.agreements)
    assert ranked
    content = found.to_dict()["trust"]
    assert [one["group"] for one in content] == list(found.groups)
    assert content[0]["sentences"] == list(found.trust[content[0]["group"]].sentences)


def test_few_images_are_said_to_be_few(found, page):
    few = [name for name, part in found.groups.items() if len(part) < 6]
    assert few
    assert page.text.count("No measure has ranks") >= len(few)


@pytest.mark.usefixtures("undrawn")
def test_which_maps_share_a_scale():
    seen = {}
    for scale, words in {
        "map": ("full colour at its own strongest pixels", "each map on a scale of its own"),
        "method": ("All maps of a method share a scale", "one scale for each method"),
        "common": ("All maps share one scale", "one scale for all maps"),
    }.items():
        found = small_comparison(methods=["saliency", "grad_cam"], metrics=["sparsity"], shown=2, scale=scale)
        page = Page(compare_page(found))
        assert all(one in page.text for one in words)
        assert found.to_dict()["parameters"]["scale"] == found.scale == scale
        seen[scale] = tuple(image["src"] for image in page.all("img"))
    assert len({*seen.values()}) == 3
