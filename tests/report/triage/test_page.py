import csv
import json
from dataclasses import replace

import pytest
import torch
from cases.undrawn import undrawn
from report.explain.small_jobs import CLASSES, tiny_images, tiny_net
from report.pages import Page, without_text

from captum_paramsal import FilterIndex
from captum_paramsal.errors import InputError, ParamsalError, SourceError
from captum_paramsal.report import About, TriageReport, TriageSettings, fit_reference, triage as triage_report
from captum_paramsal.report.triage.label_doubts import LabelDoubts
from captum_paramsal.report.triage.page import triage_page
from captum_paramsal.sources import Item, LabelledTensors, Skipped
from captum_paramsal.triage import Triage, triage

NAN = float("nan")


def fair_net():
    """The tiny network, turned so that it gives each of its answers to some of the tiny images."""
    model = tiny_net()
    with torch.no_grad():
        logits = torch.cat([model(batch.inputs) for batch in tiny_images().batches(24)])
        model[-1].weight *= 1 / logits.std(dim=0)[:, None]
        model[-1].bias -= logits.mean(dim=0)
        model[-1].bias *= 1 / logits.std(dim=0)
    return model


def fair_images(count=24, seed=1):
    """Every fourth of the tiny images has a label that the network does not say."""
    images = tiny_images(count, seed)
    with torch.no_grad():
        labels = torch.cat([fair_net()(batch.inputs).argmax(dim=1) for batch in images.batches(count)])
    labels[::4] = (labels[::4] + 1) % 3
    assert len({*labels.tolist()}) == 3
    images.items = [replace(item, label=label) for item, label in zip(images.items, labels.tolist(), strict=True)]
    return images


def tiny_triage(images=None, reference=None, **settings):
    chosen = TriageSettings(**{"batch_size": 5, "show_progress": False, "smallest": 2, **settings})
    about = About(model="tiny & net", weights="seed 0", images="noise")
    return triage_report(fair_net(), images or fair_images(), reference, settings=chosen, classes=CLASSES, about=about)


def made_up(groups=14, size=2, ungrouped=15):
    """Many groups of mistakes, mistakes in none, and filters that are significant."""
    mistakes = groups * size + ungrouped
    filters = FilterIndex({"one": 3, "two": 5})
    in_groups = torch.arange(groups).repeat_interleave(size)
    parts = torch.rand(3, groups + 1, 8, generator=torch.Generator().manual_seed(0)).double()
    found = Triage(
        filters=filters,
        images=torch.arange(mistakes),
        labels=torch.arange(mistakes) % 30,
        predicted=(torch.arange(mistakes) + 1) % 30,
        confidence=torch.linspace(0.2, 0.9, mistakes).double(),
        groups=torch.cat([in_groups, torch.full((ungrouped,), -1)]),
        similarity=torch.cat([torch.full((groups * size,), 0.5), torch.full((ungrouped,), NAN)]).double(),
        class_counts=torch.full((30,), 10),
        superiority=torch.linspace(0.9, 0.4, 8).double(),
        q_values=torch.linspace(0.001, 0.9, 8).double(),
        coherence=parts[0],
        excess=parts[1],
        pull=parts[2] - 0.5,
        context={"level": 0.3, "compared_within": "all images", "compared_mistakes": 40, "images": 300, "seed": 0},
    )
    template = tiny_triage()
    items = tuple(Item(f"<photo> {number}", number % 30) for number in range(mistakes))
    skipped = (Skipped("broken.jpg", "UnidentifiedImageError"),)
    parameters = {**template.context["parameters"], "level": 0.3}
    context = {**template.context, "parameters": parameters}
    parts = {"triage": found, "items": items, "skipped": skipped, "context": context}
    return replace(template, **parts, images=300, pictures={}, doubts=LabelDoubts())


@pytest.fixture(scope="module")
def found():
    return tiny_triage()


@pytest.fixture(scope="module")
def page(found):
    return Page(triage_page(found))


def test_one_file_that_loads_nothing(found, page):
    assert not {tag for tag, _ in page.elements} & {"link", "iframe", "object", "b"}
    assert all(script == {} for script in page.all("script"))
    for _, attributes in page.elements:
        for key in ("src", "href", "xlink:href"):
            assert attributes.get(key, "#").startswith(("#", "data:image/"))
        assert not any(key.startswith("on") for key in attributes)
    assert "http" not in triage_page(found)


@pytest.mark.parametrize("make", [tiny_triage, made_up])
def test_every_picture_has_a_text_and_every_link_leads_somewhere(make):
    page = Page(triage_page(make()))
    assert without_text(page) == []
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len({*ids})
    assert {link["href"].removeprefix("#") for link in page.all("a")} <= {*ids}
    assert {value for _, attributes in page.elements if (value := attributes.get("aria-labelledby"))} <= {*ids}


def test_the_triage_is_that_of_the_images(found):
    images = fair_images()
    own = triage(fair_net(), batches_of(images), smallest=2, show_progress=False)
    assert found.triage.to_table() == own.to_table()
    assert [item.name for item in found.items] == [f"photo {number}.png" for number in range(0, 24, 4)]
    assert [item.label for item in found.items] == own.labels.tolist()
    assert (found.images, found.candidates, found.accuracy) == (24, 24, pytest.approx(0.75))


def batches_of(images):
    return [(batch.inputs, batch.labels) for batch in images.batches(5)]


def test_pictures_are_those_of_the_mistakes(found):
    images = fair_images()
    for number, picture in found.pictures.items():
        assert picture == images.picture(4 * number)
    page = Page(triage_page(found))
    shown = [svg for svg in page.all("svg") if svg.get("class", "").startswith("photo")]
    assert len([image for image in page.all("image") if "id" in image]) == len(found.pictures) > 0
    described = [svg["aria-label"] for svg in shown if "aria-label" in svg]
    assert all(" taken for " in words or words.startswith("labelled ") for words in described)


def test_what_is_compared_is_said(found, page):
    assert "No filter is significantly more salient in mistakes" in page.text
    assert "than in correct images of the same class (false discovery rate 0.05)" in page.text
    assert "taken from these images themselves, the mistakes among them (25%)" in page.text
    assert "There are only 6 mistakes" in page.text
    assert "<b>axolotl</b>" in page.text
    for name, count in ((f"{one} taken for {other}", n) for one, other, n in found.pairs_among(range(6))):
        assert f"{name} {name.split(' taken for ')[1]} {count}" in page.text


@pytest.mark.usefixtures("undrawn")
def test_only_the_largest_groups_are_shown_and_the_others_counted():
    page = Page(triage_page(made_up()))
    assert sum(attributes.get("id", "").startswith("group-") for _, attributes in page.elements) == 12
    assert "The 12 largest are shown; the other 2 are in triage.json" in page.text
    assert "15 mistakes are like too few others" in page.text
    assert "The 12 most confident are shown" in page.text
    assert "no picture" in page.text
    assert "Shown are 12 of the 30 classes" in page.text
    assert "3 of 8 filters are significantly more salient in mistakes than in correct images (false" in page.text
    assert "correct images of all classes, since too few mistakes have one of their own class" in page.text
    assert "broken.jpg UnidentifiedImageError" in page.text
    assert "No two classes are confused more than once" not in page.text
    assert "should be weaker" in page.text
    assert "should be stronger" in page.text


@pytest.mark.usefixtures("undrawn")
def test_no_group():
    text = Page(triage_page(made_up(groups=0, ungrouped=4))).text
    assert "No two classes are confused more than once" in text
    assert "There may be as many causes as mistakes" in text
    assert "4 mistakes are like too few others to be in a group" in text


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A report and the folder of its files."""
    report, folder = made_up(), tmp_path_factory.mktemp("triage")
    with undrawn():
        assert report.write(folder) == folder / "report.html"
    return report, folder


def test_files(written):
    found, folder = written
    data = {"report.html", "manifest.json", "triage.json", "triage.csv", "mistakes.csv", "triage.safetensors"}
    assert {file.name for file in folder.iterdir()} == data | {"confusion.png", "filters.png"}
    content = json.loads((folder / "triage.json").read_text())
    assert (content["schema"], content["schema_version"]) == ("captum_paramsal.triage", 2)
    assert content["model"]["fingerprint"] == tiny_triage().triage.context["model"]
    assert content["summary"]["groups"] == len(content["groups"]) == 14
    assert content["groups"][3]["files"] == ["<photo> 6", "<photo> 7"]
    assert [one["filter"] for one in content["significant_filters"]] == ["one[0]", "one[1]", "one[2]"]
    first = content["groups"][0]["filters"][0]
    assert first["wanted"] == ("weaker" if first["pull"] > 0 else "stronger")
    assert sum(pair["count"] for pair in content["confusion_pairs"]) == len(found.triage)
    rows = list(csv.DictReader((folder / "mistakes.csv").read_text().splitlines()))
    assert [row["group"] for row in rows] == [str(number // 2) for number in range(28)] + [""] * 15
    assert (rows[0]["file"], rows[0]["similarity"], rows[-1]["similarity"]) == ("<photo> 0", "0.5", "")
    filters = list(csv.DictReader((folder / "triage.csv").read_text().splitlines()))
    assert len(filters) == 8 * 15
    assert (filters[0]["group"], filters[8]["group"], filters[0]["schema_version"]) == ("", "0", "2")
    assert Triage.load(folder / "triage.safetensors").to_table() == found.triage.to_table()


def test_a_written_report_is_loaded_again(written):
    found, folder = written
    loaded = TriageReport.load(folder)
    assert loaded.to_dict() == found.to_dict()
    assert loaded.triage.to_table() == found.triage.to_table()
    with pytest.raises(SourceError, match=r"Expected captum_paramsal\.triage at"):
        TriageReport.load(folder / "triage.csv")


@pytest.mark.usefixtures("undrawn")
def test_limit_reference_and_layers():
    reference = fit_reference(fair_net(), fair_images(seed=2), layers="2", show_progress=False)
    found = tiny_triage(reference=reference, limit=12)
    assert (found.images, found.candidates) == (12, 24)
    assert [item.name for item in found.items] == [f"photo {number}.png" for number in range(0, 24, 4)]
    assert found.context["parameters"]["layers"] == ["2"]
    assert found.context["reference"]["images"] == 24
    assert "12 of 24, evenly spread" in Page(triage_page(found)).text


def test_files_that_cannot_be_read_shift_nothing():
    class Damaged(LabelledTensors):
        def batches(self, batch_size, positions=None):
            wanted = range(len(self)) if positions is None else positions
            yield from super().batches(batch_size, [place for place in wanted if place % 4 != 1])

    images = fair_images()
    images.__class__ = Damaged
    found = tiny_triage(images)
    assert found.images == 18
    assert [item.name for item in found.items] == [f"photo {number}.png" for number in range(0, 24, 4)]


def test_what_cannot_be_sorted():
    images = torch.rand(4, 3, 12, 12)
    with pytest.raises(SourceError, match="got 9 for 'image 2'"):
        tiny_triage(LabelledTensors(images, torch.tensor([0, 1, 9, 2])))
    with torch.no_grad():
        right = fair_net()(images).argmax(dim=1)
    with pytest.raises(InputError, match="gets all 4 images right"):
        tiny_triage(LabelledTensors(images, right))
    with pytest.raises(ParamsalError, match="`limit` to be at least 1, got 0"):
        TriageSettings(limit=0)


def test_it_is_a_value_of_the_report(found):
    assert isinstance(found, TriageReport)
    assert found.class_name(7) == "class 7"


def test_the_most_confident_mistakes_stand_beside_their_neighbours(found, page):
    numbers = found.triage.confidence.argsort(descending=True)[:5].tolist()
    rows = [one["aria-label"] for one in page.all("ol") if "aria-label" in one]
    assert rows == [f"{found.items[number].name} and the most similar ones" for number in numbers]
    for number in numbers:
        nearest, similarity = found.neighbors_of(number)[0]
        label, predicted = (
            found.class_name(int(part[nearest])) for part in (found.triage.labels, found.triage.predicted)
        )
        assert f"{label} taken for {predicted} , similarity {similarity:.2f}" in page.text
        row = found.mistakes_table()[number]
        assert (row["nearest"], row["nearest_similarity"]) == (found.items[nearest].name, similarity)
    assert "Similar mistakes" in page.text


def test_a_triage_of_an_earlier_version_has_no_neighbours(tmp_path):
    found = made_up(groups=0, ungrouped=4)
    assert found.triage.neighbors is None
    with undrawn():
        found.write(tmp_path)
    assert TriageReport.load(tmp_path).neighbors_of(0) == []
    assert "Similar mistakes" not in (tmp_path / "report.html").read_text()
