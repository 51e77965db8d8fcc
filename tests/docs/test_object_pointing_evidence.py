"""The script of the page on where the maps point, on photos of noise, and its networks."""

import csv
import json

import numpy as np
import pytest
import torch
from docs.scripts import loaded
from PIL import Image
from torch import nn

NAMES = ("photos", "results", "object_pointing")
PHOTOS = 8


@pytest.fixture(scope="module")
def scripts():
    with loaded(*NAMES) as found:
        yield found


@pytest.fixture(scope="module")
def study(scripts):
    return scripts["object_pointing"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Photos of noise, each with two boxes, in the data folder's form."""
    data = tmp_path_factory.mktemp("data")
    place = data / "imagenet_val900" / "images"
    place.mkdir(parents=True)
    random = np.random.default_rng(0)
    rows = []
    for number in range(PHOTOS):
        pixels = random.integers(0, 256, (227, 227, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(place / f"{number}.png")
        rows.append({"file": f"{number}.png", "label": number % 4, "boxes_227_xyxy": "20,10,120,220;100,0,227,230"})
    with (data / "imagenet_val900" / "labels.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, fieldnames=list(rows[0]))
        table.writeheader()
        table.writerows(rows)
    return data


class Tiny(nn.Module):
    """Two convolutions, the last of which sees a quarter of the pixels, and four classes."""

    def __init__(self):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            first, second = nn.Conv2d(3, 6, 3, stride=2, padding=1), nn.Conv2d(6, 8, 3, stride=2, padding=1)
            self.features = nn.Sequential(first, nn.ReLU(), second, nn.ReLU())
            self.classifier = nn.Linear(8, 4)

    def forward(self, x):
        return self.classifier(self.features(x).mean(dim=(2, 3)))


def test_photos_as_each_network_takes_them(scripts, folder):
    photos = scripts["photos"]
    place = folder / "imagenet_val900"
    plain = photos.load_photos(place, 3)
    larger = photos.load_photos(place, 3, photos.LITE1_INPUT)
    assert (plain.size, larger.size, len(larger)) == ((227, 227), (240, 240), 3)
    expected = torch.tensor([[20.0, 10, 120, 220], [100, 0, 227, 227]])
    torch.testing.assert_close(plain.boxes[2], expected)
    torch.testing.assert_close(larger.boxes[2], expected * 240 / 227)
    with Image.open(place / "images" / "1.png") as picture:
        pixels = torch.from_numpy(np.array(picture.resize((240, 240), Image.Resampling.BICUBIC))).permute(2, 0, 1)
    torch.testing.assert_close(larger.images[1], (pixels.float() - 127) / 128)


@pytest.mark.slow
def test_the_whole_study_on_another_network(scripts, study, folder, tmp_path, monkeypatch):
    small = scripts["photos"].Preparation(32, torch.full((3,), 0.5), torch.full((3,), 0.25))
    monkeypatch.setitem(study.NETWORKS, "tiny", study.Subject(lambda _: Tiny().eval(), small, "features.3"))
    options = ["--network", "tiny", "--data", str(folder), "--work", str(tmp_path), "--trials", "10", "--steps", "0"]
    study.main([*options, "--no-confidence", "--layers", "features.2", "input"])
    known = json.loads((tmp_path / "object_pointing.json").read_text("utf-8"))
    names = list(known["results"])
    assert names[:3] == ["a random pixel", "the centre", "Grad-CAM"]
    assert names[-1] == "discernible neurons, learned"
    assert "Integrated Gradients" not in names
    assert known["groups"]["all"] == PHOTOS // 2
    assert known["results"]["the centre"]["hits"]["all"][0] == 1
    # At 32 pixels the boxes go from 2.8 to 16.9 by 1.4 to 31.0, and from 14.1 to the right edge by 0 to the lower one.
    area = known["results"]["a random pixel"]["hits"]["all"][0]
    assert 0.86 < area < 0.94
    learn, judge = (range(start, PHOTOS, 2) for start in (0, 1))
    photos = scripts["photos"].load_photos(folder / "imagenet_val900", None, small)
    right = Tiny().eval()(photos.images).argmax(dim=1) == photos.labels
    assert known["groups"]["predicted right"] == sum(right[n].item() for n in judge)
    counted = known["empty"]["CNN-Fixations"]
    assert counted[1] == sum(right[n].item() for n in (*learn, *judge))
    text = (tmp_path / "object_pointing.md").read_text("utf-8")
    assert text.count("| discernible neurons") == 4 + 1
    assert set(known["by layer"]["discernible neurons"]) == {"features.2", "input"}
    assert text.splitlines()[-2].startswith("| features.2 | ")
    assert "* CNN-Fixations - Grad-CAM: " in text
    assert (tmp_path / "object_pointing.png").read_bytes().startswith(b"\x89PNG")


def test_places_of_a_layer_are_counted_once_and_play(study, folder, scripts):
    small = scripts["photos"].Preparation(32, torch.full((3,), 0.5), torch.full((3,), 0.25))
    photos = scripts["photos"].load_photos(folder / "imagenet_val900", 4, small)
    method = study.DiscernibleNeurons(Tiny().eval())
    classes = torch.zeros(4, dtype=torch.long)
    found = study.by_layer(method, photos, classes, "tiny", ["features.2", "input"])
    trace = method.trace(photos.images, classes)
    for layer, values in found.items():
        neurons = trace.layers[layer]
        places = set(zip(neurons.image.tolist(), neurons.y.tolist(), neurons.x.tolist(), strict=True))
        assert values["places"] == len(places) / 4
    # At the image it is the game of the trace's own map.
    assert found["input"]["hits"][0] == study.pointing_game(trace.heatmap(), photos.boxes).rate


def test_confidences_where_they_are_asked_for(study, folder, scripts):
    photos = scripts["photos"].load_photos(folder / "imagenet_val900", 4)
    model = Tiny().eval()
    predicted = model(photos.images).argmax(dim=1)
    boxes = torch.tensor([[0.0, 0, 227, 227]]).expand(4, 4)
    found = study.Found(study.pointing_game_at(torch.tensor([100, 100]), photos.boxes, photos.size), boxes)
    with_them = study.scored(found, photos, model, predicted)
    without = study.scored(found, photos, model, predicted, confidence=False)
    assert with_them.pop("increase")[0] == 0
    assert {**without, "hits": without["hits"]["all"]} == {**with_them, "hits": with_them["hits"]["all"]}
    assert without["area"] == 1
    row = study.table({"whole": without}).splitlines()[2].split("|")
    assert [cell.strip() for cell in row[-3:]] == ["", "100", ""]


def test_empty_maps_of_right_photos_are_counted_over_both_halves(study):
    boxes = torch.tensor([[0.0, 0, 4, 4]]).expand(3, 4)
    maps = torch.ones(3, 6, 6).cumsum(dim=1)
    maps[1] = 0
    games = [study.pointing_game(maps, boxes), study.pointing_game(maps.flip(0), boxes)]
    right = [torch.tensor([True, True, False]), torch.tensor([True, False, True])]
    count, total, low, high = study.empty_maps(games, right)
    assert (count, total) == (1, 4)
    assert 0 < low < 0.25 < high < 1
    line = study.empty_table({"trace": [count, total, low, high]}).splitlines()[2]
    assert line.startswith("| trace | 1 of 4 | ")


@pytest.mark.data
def test_grad_cam_on_lite1_takes_what_the_classes_are_scored_from(scripts, study, paramsal_data):
    pytest.importorskip("timm")
    subject = study.NETWORKS["efficientnet_lite1"]
    model = subject.load(paramsal_data)
    photos = scripts["photos"].load_photos(paramsal_data / "imagenet_val900", 8, subject.preparation)
    maps = []
    model.get_submodule(subject.last_maps).register_forward_hook(lambda _, __, output: maps.append(output))
    scores = scripts["photos"].scores_of(model, photos.images)
    assert (scores.argmax(dim=1) == photos.labels).sum() >= 5
    assert maps[0].shape == (8, 1280, 8, 8)
    with torch.no_grad():
        torch.testing.assert_close(model.classifier(maps[0].mean(dim=(2, 3))), scores)
