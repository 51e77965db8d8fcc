import csv
import json
from dataclasses import replace

import pytest
import torch
from repair.cures.small_fault import network
from report.cure.small_cures import ABOUT, CLASSES, fault, kept, refused, small_settings, source, too_few
from report.pages import Page

from captum_paramsal.errors import InputError, ParamsalError, SourceError
from captum_paramsal.repair import Patch, cure as cure_batches
from captum_paramsal.report import CureReport, CureReportSettings, cure
from captum_paramsal.report.cure.page import cure_page

REPORTS = {"kept": kept, "refused": refused, "too few": too_few}


@pytest.mark.parametrize("status", REPORTS)
def test_one_file_without_scripts_or_addresses(status):
    text = cure_page(REPORTS[status]())
    page = Page(text)
    assert not {tag for tag, _ in page.elements} & {"script", "link", "iframe", "object", "b"}
    assert "http" not in text
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len({*ids})
    assert {link["href"].removeprefix("#") for link in page.all("a")} <= {*ids}


@pytest.mark.parametrize("status", REPORTS)
def test_the_verdict_comes_first(status):
    report = REPORTS[status]()
    assert report.cure.verdict.status == status
    page = Page(cure_page(report))
    assert page.text.index(report.cure.verdict.reason) < page.text.index("How to read this")
    assert ("Apply and take back" in page.text) == (status == "kept")


def test_the_cure_is_that_of_its_mistakes_and_right_images():
    report, images = kept(), source()
    inputs, labels = (
        torch.cat(parts) for parts in zip(*((b.inputs, b.labels) for b in images.batches(64)), strict=True)
    )
    with torch.no_grad():
        right = network()(inputs).argmax(dim=1) == labels
    own = cure_batches(
        network(), [(inputs[~right], labels[~right])], [(inputs[right], labels[right])],
        settings=small_settings().cure, show_progress=False,
    )  # fmt: skip
    assert report.cure.verdict.reason == own.verdict.reason
    assert report.cure.filters == own.filters == (fault(),)
    assert (report.images, report.wrong) == (160, int((~right).sum()))


def test_judging_images_are_named_with_what_is_said_of_them_before_and_after():
    report, model, images = kept(), network(), source()
    report.cure.apply(model)
    names = {item.name: position for position, item in enumerate(images.items)}
    for image in report.judged:
        (batch,) = images.batches(1, [names[image.file]])
        with torch.no_grad():
            said = [int(one(batch.inputs).argmax()) for one in (network(), model)]
        assert [image.before, image.after] == said
        assert image.label == int(batch.labels)
    verdict = report.cure.verdict
    outcomes = [image.outcome for image in report.judged]
    assert outcomes.count("cured") == int(verdict.cured.sum()) > 0
    assert outcomes.count("not cured") == int((~verdict.cured).sum())
    assert outcomes.count("broken") == int(verdict.broken.sum())
    assert outcomes.count("still right") == int((~verdict.broken).sum())


def test_the_page_has_the_alternatives_and_the_filters():
    text = Page(cure_page(kept())).text
    for words in ("the whole network", "the last layer", "as many filters at random", "0[2]"):
        assert words in text
    assert "By the same rule" in text
    assert "half to learn from, a fifth to choose how far to go" in text
    assert "captum-paramsal patch cured.patch.safetensors --take-back" in text


def test_what_was_refused_is_said_in_the_conditional():
    report = refused()
    text = Page(cure_page(report)).text
    assert "What the change would have done" in text
    assert "Mistakes that would be cured" in text
    assert not report.cure.kept
    assert any("Nothing else was tried" in caveat for caveat in report.caveats)


@pytest.mark.parametrize("status", REPORTS)
def test_files(status, tmp_path):
    report = REPORTS[status]()
    assert report.write(tmp_path) == tmp_path / "report.html"
    names = {"report.html", "manifest.json", "cure.json", "cure.csv"} | (
        {"cured.patch.safetensors"} if status == "kept" else set()
    )
    assert {file.name for file in tmp_path.iterdir()} == names
    content = json.loads((tmp_path / "cure.json").read_text())
    assert (content["schema"], content["summary"]["status"]) == ("captum_paramsal.cure", status)
    rows = list(csv.DictReader((tmp_path / "cure.csv").read_text().splitlines()))
    assert [row["file"] for row in rows] == [image.file for image in report.judged]
    loaded = CureReport.load(tmp_path)
    assert loaded.to_dict() == report.to_dict()
    assert cure_page(loaded) == cure_page(replace(report, pictures={}))


def test_a_patch_of_an_earlier_report_goes(tmp_path):
    kept().write(tmp_path)
    model = network()
    Patch.load(tmp_path / "cured.patch.safetensors").apply(model)
    refused().write(tmp_path)
    assert not (tmp_path / "cured.patch.safetensors").exists()


def test_a_pair_a_group_and_images_to_keep():
    with torch.no_grad():
        images, labels = source()._images, torch.tensor([item.label for item in source().items])
        said = network()(images).argmax(dim=1)
    wrong = (said != labels).nonzero()[:, 0].tolist()
    pair = int(labels[wrong[0]]), int(said[wrong[0]])
    of_pair = [place for place in wrong if (int(labels[place]), int(said[place])) == pair]
    report = cure(network(), source(), settings=replace(small_settings(), pair=pair), classes=CLASSES)
    assert report.context["chosen"] == {
        "which": f"{CLASSES[pair[0]]} taken for {CLASSES[pair[1]]}",
        "mistakes": len(of_pair),
    }
    some = cure(network(), source(), mistakes=wrong[:20], mistakes_from="group 7", settings=small_settings())
    assert some.context["chosen"] == {"which": "group 7", "mistakes": 20}
    other = cure(network(), source(), keep=source(80, seed=1), settings=small_settings())
    assert other.context["keep"]["own_images"]
    assert other.context["keep"]["images"] < report.context["keep"]["images"]


def test_what_cannot_be_cured():
    right = next(place for place, item in enumerate(source().items) if item.label == 0)
    with pytest.raises(InputError, match=rf"it gets 1 of 1 right, .* such as image {right}"):
        cure(network(), source(), mistakes=[right], settings=small_settings())
    with pytest.raises(InputError, match="of class 0 taken for class 1 to cure, got none among 160 images"):
        cure(network(), source(), settings=replace(small_settings(), pair=(0, 1)))
    images = source()
    images.items = [*images.items[:3], replace(images.items[3], label=9), *images.items[4:]]
    with pytest.raises(SourceError, match="got 9 for '<photo> 3'"):
        cure(network(), images, settings=small_settings())
    with pytest.raises(ParamsalError, match=r"`pair` of two classes, .* got \(1, 1\)"):
        CureReportSettings(pair=(1, 1))
    with pytest.raises(ParamsalError, match="`limit` to be at least 1, got 0"):
        CureReportSettings(limit=0)


@pytest.mark.parametrize(("steps", "status"), [(40, "kept"), (1, "refused")])
def test_a_cure_of_the_norms_names_no_filters(steps, status):
    settings = small_settings(change="norms", steps=steps, alternatives=True)
    report = cure(network(), source(), settings=settings, classes=CLASSES, about=ABOUT)
    assert report.cure.verdict.status == status
    text = Page(cure_page(report)).text
    assert "changes factors and offsets of the norms, and no other number" in text
    assert "Filters that were changed" not in text
    assert "the suspected filters" in text
