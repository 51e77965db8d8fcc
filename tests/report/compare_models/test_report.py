import csv
import json
from dataclasses import replace

import pytest
import torch
from report.compare_models.small_models import COUNT, Untraceable, checkpoints, labelled, settings, tiny_comparison
from report.pages import Page

from captum_paramsal import ModelComparison
from captum_paramsal.errors import InputError, ParamsalError, SourceError
from captum_paramsal.models_compared import ImageDifferences
from captum_paramsal.report import ModelComparisonReport, ModelComparisonSettings, compare_models
from captum_paramsal.report.compare_models.page import _of_name, models_page
from captum_paramsal.sources import LabelledTensors
from captum_paramsal.stats import mcnemar


@pytest.fixture(scope="module")
def report():
    return tiny_comparison()


@pytest.fixture(scope="module")
def page(report):
    return Page(models_page(report))


def answers_of(a, b, images):
    inputs, labels = zip(*((batch.inputs, batch.labels) for batch in images.batches(COUNT)), strict=True)
    with torch.no_grad():
        said = [model(torch.cat(inputs)).argmax(dim=1) for model in (a, b)]
    return torch.cat(labels), *said


def test_answers_are_those_of_both_on_all_images(report):
    a, b = checkpoints()
    labels, said_a, said_b = answers_of(a, b, labelled(a, b))
    right_a, right_b = said_a == labels, said_b == labels
    only = (right_a != right_b).nonzero()[:, 0].tolist()
    assert [image.file for image in report.answered] == [f"photo <{number}>.png" for number in only]
    assert [(image.predicted_a, image.predicted_b) for image in report.answered] == [
        (int(said_a[number]), int(said_b[number])) for number in only
    ]
    assert (report.both, report.neither) == (int((right_a & right_b).sum()), int((~right_a & ~right_b).sum()))
    summary = report.summary()
    assert (summary["images"], summary["accuracy"]) == (COUNT, pytest.approx(float(right_a.double().mean())))
    assert summary["other_accuracy"] == pytest.approx(float(right_b.double().mean()))
    assert summary["p_value"] == mcnemar(int((right_a & ~right_b).sum()), int((right_b & ~right_a).sum()))
    for group in ("only_a", "only_b"):
        assert sum(count for _, _, count in report.turned(group)) == getattr(report, group) > 2
        shown = report.listed(group)
        confidences = [image.wrong[1] for image in shown]
        assert confidences == sorted(confidences, reverse=True)
        assert all(report.names[image.number] == image.file for image in shown)


def test_weights_and_neurons_are_compared_on_some_images_of_each_group(report):
    comparison, differences = report.comparison, report.differences
    assert str(comparison.top(1)[0].filter) == "3[2]"
    assert [len(getattr(comparison, group)) for group in ("only_a", "only_b", "both")] == [8, 8, 8]
    assert [len(differences.of_group(group)) for group in ("only_a", "only_b", "both")] == [4, 4, 4]
    assert len(differences.kept) == 6
    assert differences.context["reference_images"] == [COUNT, COUNT]
    assert {report.names[row["image"]] for row in differences.to_table()} == {
        row["file"] for row in report.explained_table()
    }


@pytest.mark.usefixtures("undrawn")
def test_it_is_written_and_read_again(report, tmp_path):
    report.write(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {*ModelComparisonReport.files}
    loaded = ModelComparisonReport.load(tmp_path)
    assert loaded.to_dict() == report.to_dict()
    assert isinstance(loaded.comparison, ModelComparison)
    assert isinstance(loaded.differences, ImageDifferences)
    content = json.loads((tmp_path / "models.json").read_text())
    assert content["filters"][0]["filter"] == "3[2]"
    assert (content["model"]["weights"], content["other"]["weights"]) == ("before", "after")
    assert content["model"]["fingerprint"] != content["other"]["fingerprint"]
    parts = [row["only_a"] for row in content["loss"]]
    assert sum(parts) == pytest.approx(float(report.comparison.loss_difference[0]))
    rows = list(csv.DictReader((tmp_path / "filters.csv").read_text().splitlines()))
    assert len(rows) == len(report.comparison.filters)
    layers = list(csv.DictReader((tmp_path / "layers.csv").read_text().splitlines()))
    assert {row["difference"] for row in layers if row["group"] == "both"} == {""}
    images = list(csv.DictReader((tmp_path / "images.csv").read_text().splitlines()))
    assert len(images) == len(report.differences)


def test_the_page_is_one_file_with_a_text_for_every_picture(report, page):
    assert not {tag for tag, _ in page.elements} & {"script", "link", "iframe", "object", "b"}
    for _, attributes in page.elements:
        for key in ("src", "href", "xlink:href"):
            assert attributes.get(key, "#").startswith(("#", "data:image/"))
    assert all(image["alt"] for image in page.all("img"))
    assert all(drawing["role"] == "img" and drawing["aria-label"] for drawing in page.all("svg"))
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len({*ids})
    assert {link["href"].removeprefix("#") for link in page.all("a")} <= {*ids}
    assert len(page.all("article")) == len(report.differences.kept)


def test_the_page_says_what_the_data_says(report, page):
    assert "What differs between two checkpoints of tiny & net?" in page.text
    for image in report.listed("only_a"):
        assert image.file in page.text
    for row in report.comparison.top(3):
        assert str(row.filter) in page.text
    for layer in report.differences.layers:
        assert layer in page.text
    assert "running statistics of norms" in page.text
    assert "The running statistics of 1 norm differ, farthest in 1." in page.text
    assert "right in B alone: too few" in page.text


def test_maps_of_both_checkpoints_lie_over_the_picture(report, page):
    shown = len(report.differences.kept)
    listed = sum(len(report.listed(group)) for group in ("only_a", "only_b"))
    with_trace = int((report.differences.trace_maps.flatten(2).amax(dim=2) > 0).sum())
    assert len(page.all("img")) == shown + with_trace + 2 * shown + listed


def test_a_difference_over_few_images_is_none():
    rows = {
        group: {"mean": 0.5, "difference": -0.2, "difference_low": -0.3, "difference_high": -0.1, "images": images}
        for group, images in (("only_a", 5), ("only_b", 4))
    }
    row = _of_name("conv", rows)
    assert row.apart == {"only_a"}
    assert row.differences["only_b"] == "\N{MINUS SIGN}0.20 (\N{MINUS SIGN}0.30 to \N{MINUS SIGN}0.10)"


@pytest.mark.usefixtures("undrawn")
def test_without_pictures_the_page_says_so(report):
    page = Page(models_page(replace(report, pictures={})))
    assert not page.all("img")
    assert "no picture" in page.text


@pytest.mark.usefixtures("undrawn")
def test_what_cannot_be_traced_is_said():
    report = tiny_comparison(Untraceable())
    page = Page(models_page(report))
    assert any(caveat.startswith("There are no traces: ") and "fft" in caveat for caveat in report.caveats)
    assert "Overlap of the traces" not in page.text
    assert "#neurons" not in {link["href"] for link in page.all("a")}


@pytest.mark.usefixtures("undrawn")
def test_a_checkpoint_beside_itself():
    a, b = checkpoints()
    images = labelled(a, b)
    report = compare_models(a, a, images, settings=settings())
    page = Page(models_page(report))
    assert "No filter moved farther than the others of its layer." in page.text
    assert "The weights of all filters are the same in both" in " ".join(report.caveats)
    assert report.p_value == 1
    assert "standing" not in {section["id"] for section in page.all("section")}
    assert "layers.png" in report.contents()


@pytest.mark.usefixtures("undrawn")
def test_images_may_be_limited():
    a, b = checkpoints()
    report = compare_models(a, b, labelled(a, b), settings=settings(limit=24, usual=6, shown=0))
    assert (report.image_count, report.candidates) == (24, COUNT)
    assert report.differences.context["reference_images"] == [6, 6]
    assert not len(report.differences.kept)
    assert "24 of 48, evenly spread" in Page(models_page(report)).text


@pytest.mark.parametrize("name", ["limit", "shared", "explained", "usual", "steps", "batch_size"])
def test_sizes_are_checked(name):
    with pytest.raises(ParamsalError, match=f"`{name}` to be at least [12], got 0"):
        ModelComparisonSettings(**{name: 0})


def test_what_cannot_be_compared_is_refused_before_anything_is_read():
    a, b = checkpoints()
    other = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Flatten(), torch.nn.Linear(144, 3))
    images = labelled(a, b)
    with pytest.raises(InputError, match="one architecture"):
        compare_models(a, other, images, settings=settings())
    images.items = [replace(item, label=9) for item in images.items]
    with pytest.raises(SourceError, match="got 9 for"):
        compare_models(a, b, images, settings=settings())


def test_neither_is_right():
    a, _ = checkpoints()
    images = labelled(a, a)
    _, said, _ = answers_of(a, a, images)
    images.items = [
        replace(item, label=label) for item, label in zip(images.items, ((said + 1) % 3).tolist(), strict=True)
    ]
    with pytest.raises(InputError, match="48 that neither does"):
        compare_models(a, a, images, settings=settings())


def test_whose_accuracy_is_no_better_than_chance_is_said():
    a, b = checkpoints()
    with torch.no_grad():
        b[6].bias[0] += 100
    images = LabelledTensors(*_right_by(a))
    caveats = compare_models(a, b, images, settings=settings()).caveats
    named = [caveat for caveat in caveats if "no better than chance" in caveat]
    assert len(named) == 1
    assert named[0].startswith("Of B: Accuracy ")


def _right_by(model):
    """Images with the labels that a model gives, but for some."""
    images = torch.rand(COUNT, 3, 8, 8, generator=torch.Generator().manual_seed(1)) * 4 - 2
    with torch.no_grad():
        labels = model(images).argmax(dim=1)
    labels[::6] = (labels[::6] + 1) % 3
    return images, labels


def test_shares_that_do_not_add_up_are_said():
    rough = tiny_comparison(steps=1)
    fine = tiny_comparison(steps=60)
    for report in (rough, fine):
        table = report.comparison.loss_table()[-1]
        far = [
            name
            for name, difference in zip("ab", report.comparison.loss_difference.tolist(), strict=True)
            if abs(table[f"only_{name}"]) > 0.1 * abs(difference)
        ]
        said = [caveat for caveat in report.caveats if "left over: " in caveat]
        assert [caveat.split("only ")[1][0].lower() for caveat in said] == far
    assert any("left over: 1 steps" in caveat for caveat in rough.caveats)
    assert not any("left over: " in caveat for caveat in fine.caveats)
