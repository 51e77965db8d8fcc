"""The least confident pictures of each class, as a folder that comes back as masks."""

import json
from itertools import pairwise

import numpy as np
import pytest
import torch
from PIL import Image
from report.pages import Page
from sources.annotation_files import labelme, labelme_shape
from torch import nn

from captum_paramsal.errors import ParamsalError, SourceError
from captum_paramsal.files.kinds import PICTURES
from captum_paramsal.repair import foreground
from captum_paramsal.report import AnnotationSettings, annotate
from captum_paramsal.sources import Annotations, LabelledTensors

# The class scores are the first three pixels of the first row.
SCORES = torch.tensor(
    [[3, 0, 0], [1, 0, 0], [0, 2, 0], [0, 1, 3], [0, 5, 0], [0, 0, 1], [0, 3, 0]], dtype=torch.float32
)
LABELS = [0, 0, 0, 1, 1, 2, 0]
NAMES = ["a", "b", "folder/c", "other/c", "<i>&", "caf\udce9.png", "g"]
QUIET = {"show_progress": False}
CLASSES = {0: "cat", 1: "dog", 2: "</script>"}


class FirstPixels(nn.Module):
    def forward(self, x):
        return x[:, 0, 0, :3]


def source(**options):
    images = torch.zeros(len(SCORES), 3, 6, 8)
    images[:, 0, 0, :3] = SCORES
    return LabelledTensors(images, LABELS, names=NAMES, **options)


def chosen(**settings):
    return annotate(FirstPixels(), source(), settings=AnnotationSettings(**settings, **QUIET), classes=CLASSES)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, [6, 2, 1, 0, 3, 4, 5]),
        ({"per_class": 1}, [6, 3, 5]),
        ({"among": "correct"}, [1, 0, 4, 5]),
        ({"among": "mistakes"}, [6, 2, 3]),
        ({"batch_size": 2}, [6, 2, 1, 0, 3, 4, 5]),
    ],
)
def test_the_least_confident_of_each_class(settings, expected):
    task = chosen(**settings)
    assert [prediction.position for prediction in task.chosen] == expected
    assert (len(task), task.images) == (len(expected), 7)


def test_any_of_each_class():
    orders = {
        tuple(prediction.position for prediction in chosen(order="random", per_class=2, seed=seed).chosen)
        for seed in range(30)
    }
    assert len(orders) > 5
    assert all([LABELS[place] for place in order] == [0, 0, 1, 1, 2] for order in orders)
    assert len({place for order in orders for place in order}) == 7
    again = chosen(order="random", per_class=2, seed=3)
    assert [p.position for p in again.chosen] == [
        p.position for p in chosen(order="random", per_class=2, seed=3, batch_size=2).chosen
    ]


@pytest.fixture
def folder(tmp_path):
    assert chosen().write(tmp_path / "out") == tmp_path / "out" / "annotate.html"
    return tmp_path / "out"


def pictures(folder):
    return PICTURES.load(folder / "pictures.json", lambda content: content["pictures"])


def test_what_the_folder_holds(folder):
    assert {path.name for path in folder.iterdir()} == {"annotate.html", "coco.json", "pictures", "pictures.json"}
    index = pictures(folder)
    assert [entry["file"] for entry in index] == ["g", "folder/c", "b", "a", "other/c", "<i>&", "caf\udce9.png"]
    assert [entry["picture"] for entry in index[:2]] == ["0000-01-g.png", "0000-02-c.png"]
    assert {path.name for path in (folder / "pictures").iterdir()} == {entry["picture"] for entry in index}
    first = index[0]
    assert (first["label"], first["predicted"], first["width"], first["height"]) == (0, 1, 8, 6)
    assert first["confidence"] == pytest.approx(float(SCORES[6].softmax(0)[0]), abs=1e-6)
    shown = np.asarray(Image.open(folder / "pictures" / first["picture"]))
    assert shown.shape == (6, 8, 3)
    assert shown[0, 1].tolist() == [255, 0, 0]
    empty = json.loads((folder / "coco.json").read_text())
    assert [image["file_name"] for image in empty["images"]] == [entry["picture"] for entry in index]
    assert (empty["annotations"], empty["categories"][1]) == ([], {"id": 1, "name": "dog"})


def test_the_page(folder):
    text = (folder / "annotate.html").read_text(encoding="utf-8")
    page = Page(text)
    assert "Where is the object in these 7 pictures?" in page.text
    assert "cat 4.5 %, taken for dog" in " ".join(page.text.split())
    assert "<i>&" in page.text
    assert "caf\\xe9.png" in page.text
    assert text.count('<figure class="task"') == text.count('src="pictures/') == 7
    data = text.split('id="task">')[1].split("</script>")[0]
    told = json.loads(data)
    assert told["task"] == json.loads((folder / "coco.json").read_text())
    assert told["labels"]["0002-01-caf.png"] == 2
    assert "http://www.w3.org/2000/svg" in text
    assert not [line for line in text.splitlines() if "https://" in line]  # it loads nothing


def test_headings_and_tools_for_a_screen_reader(folder):
    page = Page((folder / "annotate.html").read_text())
    levels = [int(tag[1]) for tag, _ in page.elements if tag in {"h1", "h2", "h3", "h4"}]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    (tools,) = [one for one in page.all("div") if one.get("class") == "bar-of-tools"]
    assert (tools["role"], tools["aria-label"]) == ("region", "Tools")


def test_pages_of_other_pictures_keep_drawings_of_their_own(folder, tmp_path):
    def key(page):
        return json.loads(page.read_text().split('id="task">')[1].split("</script>")[0])["key"]

    assert key(chosen().write(tmp_path / "same")) == key(folder / "annotate.html")
    assert key(chosen(per_class=2).write(tmp_path / "other")) != key(folder / "annotate.html")


def test_what_the_page_downloads_comes_back_as_masks(folder):
    """As the page's program writes it: its own task with annotations."""
    content = json.loads((folder / "coco.json").read_text())
    corners = [2.1, 1.9, 5.8, 1.9, 5.8, 3.6, 2.1, 3.6]
    shape = {"category_id": 0, "iscrowd": 0, "area": 6.29, "bbox": [2.1, 1.9, 3.7, 1.7], "segmentation": [corners]}
    content["annotations"] = [{"id": 1, "image_id": 2, **shape}]
    (folder / "annotations.json").write_text(json.dumps(content))

    drawn = Annotations.read(folder)

    assert Annotations.read(folder / "annotations.json").images == drawn.images
    assert str(drawn) == f"1 of 7 pictures annotated (14%) in '{folder}'"
    masks = drawn.masks(NAMES, (6, 8))
    assert [mask is not None for mask in masks] == [name == "folder/c" for name in NAMES]
    assert masks[2][2, 2:6].all()
    assert not masks[2][0].any()
    there = foreground((6, 8), masks=masks, margin=0)
    assert torch.equal(there[2].bool(), masks[2])
    assert there[0].all()


def test_what_labelme_leaves_beside_the_pictures_comes_back_as_masks(folder):
    picture = pictures(folder)[5]["picture"]
    shape = labelme_shape([[1, 1], [4, 3]], "rectangle", label="dog")
    labelme(folder / "pictures" / f"{picture[:-4]}.json", picture, (8, 6), shape)
    masks = Annotations.read(folder).masks(NAMES, (6, 8))
    assert masks[4].sum() == 12
    assert source(masks=masks).mask(4).sum() == 12
    for part in (folder / "pictures", folder / "pictures" / f"{picture[:-4]}.json"):
        again = Annotations.read(part).masks(NAMES, (6, 8))
        assert [mask is not None for mask in again] == [mask is not None for mask in masks]
    labelme(folder / "pictures" / "new.json", "new.png", (8, 6), shape)
    with pytest.raises(SourceError, match=r"got 1 of .*: 'new.png' in 'pictures/new.json'"):
        Annotations.read(folder).masks(NAMES, (6, 8))


def test_a_folder_on_which_somebody_may_have_drawn_is_left_alone(folder):
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with pytest.raises(
        SourceError, match=r"without pictures to annotate, got .* with 'pictures.json', on which somebody"
    ):
        chosen().write(folder)
    (folder / "pictures.json").unlink()
    with pytest.raises(SourceError, match="with 'pictures', on which"):
        chosen().write(folder)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == {
        path: content for path, content in before.items() if path.name != "pictures.json"
    }


def test_an_index_that_is_damaged_is_refused(folder):
    index = folder / "pictures.json"
    index.write_text(index.read_text().replace('"file": "g"', '"file": "h"'))
    with pytest.raises(SourceError, match="does not match its checksum"):
        Annotations.read(folder)


def test_nothing_is_left_where_a_picture_cannot_be_written(tmp_path):
    class Broken(LabelledTensors):
        def upright(self, position):
            message = f"no picture of {position}"
            raise SourceError(message)

    task = annotate(FirstPixels(), Broken(source()._images, LABELS), settings=AnnotationSettings(**QUIET))
    with pytest.raises(SourceError, match="no picture of 6"):
        task.write(tmp_path / "out")
    assert not [*(tmp_path / "out").iterdir()]


def test_what_is_refused():
    with pytest.raises(ParamsalError, match="`per_class` to be at least 1, got 0"):
        AnnotationSettings(per_class=0)
    with pytest.raises(ParamsalError, match='`among` to be "all", "correct" or "mistakes", got \'wrong\''):
        AnnotationSettings(among="wrong")
    with pytest.raises(ParamsalError, match='`order` to be "least-confident" or "random", got \'any\''):
        AnnotationSettings(order="any")
    right = LabelledTensors(source()._images[:2], [0, 0])
    with pytest.raises(SourceError, match="images to choose from, got 2, none of which is mistakes"):
        annotate(FirstPixels(), right, settings=AnnotationSettings(among="mistakes", **QUIET))
    with pytest.raises(SourceError, match="labels from 0 to 2, the classes of the model, got 5"):
        annotate(FirstPixels(), LabelledTensors(source()._images[:1], [5]), settings=AnnotationSettings(**QUIET))
    twice = LabelledTensors(source()._images[:3], [0, 0, 1], names=["a", "b", "a"])
    with pytest.raises(SourceError, match=r"a name of its own for every image, got 2 that are called 'a'"):
        annotate(FirstPixels(), twice, settings=AnnotationSettings(**QUIET))


def test_larger_pictures_are_jpeg_in_their_own_size(tmp_path):
    images = torch.rand(2, 3, 40, 300)
    task = annotate(FirstPixels(), LabelledTensors(images, [0, 1]), settings=AnnotationSettings(**QUIET))
    task.write(tmp_path)
    with Image.open(tmp_path / "pictures" / "0000-01-image-0.jpg") as shown:
        assert shown.size == (300, 40)
