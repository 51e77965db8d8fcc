"""The scripts of the page on kinds of mistakes, on a tiny network and photos of noise."""

import csv
from argparse import Namespace

import pytest
import torch
from docs.pages import DOCS
from docs.scripts import loaded
from PIL import Image
from repair.small_models import drawn
from torch import nn

from captum_paramsal import ParameterSaliency, Reference
from captum_paramsal.functional import KINDS_OF_MISTAKES, KindThresholds, kind_of_mistake
from captum_paramsal.repair import MistakeKinds

NAMES = ("photos", "results", "contact_sheets", "mistake_readings", "region_studies", "mistake_kinds")
SIDE = 12


@pytest.fixture(scope="module")
def scripts():
    with loaded(*NAMES) as result:
        yield result


@pytest.fixture
def readings(scripts):
    return scripts["mistake_readings"]


def kinds_of(wrong, true):
    count, thresholds = len(wrong), KindThresholds()
    places = torch.arange(count)
    kinds = kind_of_mistake(wrong, true, thresholds)
    nothing = torch.zeros(count, dtype=torch.float64)
    return MistakeKinds(places, places, kinds, wrong, true, torch.zeros(count, 4), nothing, nothing, thresholds)


@pytest.fixture
def result():
    """Of each kind one, the others features of the object."""
    wrong = torch.tensor(
        [[0.8, 0.1, 0.7, 0.2], [0.8, 0.1, 0.7, 0.8], [0.8, 0.9, 0.1, 0.8]] + [[0.8, 0.5, 0.1, 0.8]] * 5
    )
    true = torch.tensor([[0.1, 0.1, 0.1, 0.1]] * 3 + [[0.1, 0.5, 0.1, 0.1]] * 5)
    return kinds_of(wrong.double(), true.double())


def table_of(path, kinds, also):
    files = [f"{number}.JPEG" for number in range(len(kinds))]
    with path.open("w", encoding="utf-8", newline="") as table:
        writer = csv.writer(table)
        writer.writerow(["file", "half", "label", "predicted", "reading", "also", "seen"])
        for file, kind, other in zip(files, kinds, also, strict=True):
            writer.writerow([file, "judge", "a", "b", kind, other, "words"])
    return files


def test_precision_against_what_was_read(readings, result, tmp_path):
    names = result.names
    assert set(names) == {*KINDS_OF_MISTAKES}
    seen, also = [*names], [""] * 8
    seen[1], also[1] = "features of the object", "another object; background"
    seen[2] = "background"
    files = table_of(tmp_path / "read.csv", seen, also)
    read = readings.Readings.of_half("judge", files, tmp_path / "read.csv")
    assert read.places.tolist() == [*range(8)]
    judged = readings.judgement(result, read)
    assert judged["all"]["same"][0] == 6 / 8
    assert judged["all"]["fitting"][0] == 7 / 8
    assert judged["background"]["same"][0] == 0
    assert judged["background"]["fitting"][0] == 1
    assert (judged["background"]["read as it"], judged["background"]["found"]) == (1, 0)
    assert judged["features of the object"]["by chance"] == 6 / 8
    assert judged["from the object"]["same"][0] == 5 / 6
    # As often as the kinds fall together at random.
    said, seen = (torch.bincount(kinds, minlength=4) / 8 for kinds in (result.kinds, read.kinds))
    assert judged["all"]["by chance"][0] == pytest.approx((said * seen).sum().item(), abs=0.01)
    assert "| all | 8 | 75.0 (" in readings.precision_table(judged)
    rows = readings.listing(result, read).splitlines()[2:]
    assert rows[0].endswith("| words | **same** |")
    assert rows[1].endswith("| words | fits |")
    assert rows[2].endswith("| words |  |")


def test_thresholds_are_those_that_fit_what_was_read(readings, tmp_path):
    wanted = KindThresholds(outside=0.1, spot=0.5, doubt=0.3)
    torch.manual_seed(0)
    other = kinds_of(torch.rand(200, 4).double(), torch.rand(200, 4).double())
    names = other.with_thresholds(wanted).names
    files = table_of(tmp_path / "read.csv", names, [""] * 200)
    read = readings.Readings.of_half("judge", files, tmp_path / "read.csv")
    best, score = readings.chosen_thresholds(other, read)
    assert score == 1
    assert other.with_thresholds(best).names == names


def test_every_mistake_was_read_once():
    with (DOCS / "evidence" / "mistake_readings.csv").open(encoding="utf-8") as table:
        rows = [*csv.DictReader(table)]
    assert len({row["file"] for row in rows}) == len(rows) == 125
    halves = [row["half"] for row in rows]
    assert (halves.count("choose"), halves.count("judge")) == (65, 60)
    for row in rows:
        assert {row["reading"], *filter(None, row["also"].split("; "))} <= {*KINDS_OF_MISTAKES}
        assert row["seen"] or row["half"] == "choose"


@pytest.fixture
def study(scripts, tmp_path):
    """A network with random weights on photos of noise, in the place of SqueezeNet."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 5, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    model, images = nn.Sequential(*layers, nn.Linear(5, 3)).eval(), drawn(10, 3, SIDE, SIDE)
    with torch.no_grad():
        predicted = model(images).argmax(dim=1)
    labels = torch.where(torch.arange(10) < 6, (predicted + 1) % 3, predicted)
    boxes = [torch.tensor([[2.0, 2, 8, 8]])] * 9 + [torch.tensor([[0.0, 0, 12, 12]])]
    photos = scripts["photos"].Photos(images, labels, boxes)
    reference = Reference.fit(model, [(drawn(20, 3, SIDE, SIDE, seed=1), labels.repeat(2))], show_progress=False)
    options = Namespace(work=tmp_path, every=1, pasted=3, others=2, draws=2, data=tmp_path, free=8, shown=1)
    results = scripts["results"].Results(tmp_path / "mistake_kinds.json")
    files = [f"{number}.JPEG" for number in range(10)]
    names = {number: f"class {number}" for number in range(3)}
    saliency = ParameterSaliency(model, reference)
    return scripts["mistake_kinds"].Study(saliency, photos, files, predicted, names, results, options)


def test_regions_and_their_controls(scripts, study):
    studies = scripts["region_studies"]
    assert studies.usable(study.photos).tolist() == [True] * 9 + [False]
    result = studies.region_effects(study.saliency, study.photos[torch.arange(4)], 0.0, guilty=True)
    assert result["photos"] == 4
    assert result["area"][0] == pytest.approx(0.25)
    arms = result["arms"]
    gap = arms["object"]["true class"][0] - arms["object, elsewhere"]["true class"][0]
    assert result["minus elsewhere"]["object"]["true class"][0] == pytest.approx(gap)
    assert torch.tensor(arms["background"]["guilty filters"]).isfinite().all()


def test_regions_that_are_pasted(scripts, study):
    maps = {"ours": drawn(3, SIDE, SIDE)}
    wrong, others = study.photos[study.mistakes[:3]], study.photos.images[study.right[:2]]
    result = scripts["region_studies"].pasted_regions(study.model, wrong, others, maps, draws=2)
    assert set(result) == {"boxes of the object", "5 % of the pixels, ours", "window of 10 %, ours"}
    assert all(len(rows) == 6 for rows in result.values())


def test_the_sheets_say_nothing_of_the_kind(scripts, study):
    sheets = scripts["contact_sheets"]
    images = torch.nn.functional.interpolate(study.photos.images[:2], size=(sheets.SIDE, sheets.SIDE))
    photos = scripts["photos"].Photos(images, study.photos.labels[:2], [torch.tensor([[5.0, 5, 100, 100]])] * 2)
    [sheet] = sheets.contact_sheets(photos, drawn(2, sheets.SIDE, sheets.SIDE), ["one\ntwo"] * 2)
    assert isinstance(sheet, Image.Image)
    assert sheet.getpixel((5 + 20, sheets.TITLE + 5)) == (0, 255, 0)


@pytest.mark.slow
def test_a_gallery_of_free_photos(scripts, study, tmp_path):
    studies = scripts["region_studies"]
    (tmp_path / "images").mkdir()
    rows = ["file,label,wnid,name,licence,author,landing_url"]
    for number in range(8):
        values = (255 * drawn(SIDE, SIDE, 3, seed=number).sigmoid()).byte().numpy()
        Image.fromarray(values).resize((227, 227)).save(tmp_path / "images" / f"{number}.png")
        rows.append(f"{number}.png,{number % 3},n,class,licence,author {number},https://example.org/{number}")
    (tmp_path / "labels.csv").write_text("\n".join(rows) + "\n", "utf-8")
    made = studies.gallery(study.saliency, tmp_path, study.classes, limit=8, shown=1)
    assert made.numbers["photos"] == 8
    assert len(made.credits) == 2
    assert all("https://example.org/" in line for line in made.credits)
    assert made.picture.height > 227
