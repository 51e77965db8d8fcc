"""What the usual suspects look for: the pictures of a report are those of the reference, or they are not shown."""

from dataclasses import replace

import pytest
import torch
from PIL import Image
from report.explain.small_jobs import CLASSES, tiny_images, tiny_net
from report.pages import Page, without_text

from captum_paramsal.report import ExplainSettings, Explanation, explain, fit_reference
from captum_paramsal.report.explain.data import usual_suspects
from captum_paramsal.report.explain.page import explain_page
from captum_paramsal.sources import LabelledTensors
from captum_paramsal.sources.pictures import encode
from captum_paramsal.viz import decoded

SETTINGS = ExplainSettings(top_k=4, batch_size=5, show_progress=False, pixels=False, traces=False)


def explained(reference=None, **options):
    own = options.pop("settings", SETTINGS)
    return explain(tiny_net(), tiny_images(), reference, settings=own, classes=CLASSES, **options)


def others(seed=3):
    """Images of a reference that are not those explained, though some have the same names."""
    images = tiny_images(30, seed)
    return LabelledTensors(
        images._images,
        [item.label for item in images.items],
        images._prepare,
        names=[f"other {number}.png" for number in range(30)],
    )


def taken_on(images, **options):
    return fit_reference(tiny_net(), images, exemplars=5, batch_size=7, show_progress=False, **options)


def activations(images, layer):
    """Maxima of the maps of one of the tiny network's layers, ``(N, F)``, and where they are."""
    net = tiny_net()
    with torch.no_grad():
        maps = net[: int(layer) + 1](next(images.batches(len(images))).inputs)
    highest, place = maps.flatten(2).max(dim=2)
    return highest, place // maps.shape[-1], place % maps.shape[-1]


def require_exact(found, images, pictures):
    """Every record is what the network makes of the images, and every picture a part of one."""
    sides = {"0": 3, "2": 5}
    for one in found.exemplars.filters:
        highest, rows, columns = activations(images, one.filter.layer)
        own = highest[:, one.filter.index]
        assert [image.number for image in one.images] == own.argsort(descending=True)[: len(one.images)].tolist()
        assert one.active == float((own > 0).double().mean())
        for image in one.images:
            assert image.activation == pytest.approx(float(own[image.number]), rel=1e-5)
            side = sides[one.filter.layer]
            y, x = (int(place[image.number, one.filter.index]) for place in (rows, columns))
            assert image.box == (x, y, x + side, y + side)
            crop = found.crops[one.filter][image.number]
            seen = decoded(crop.data, crop.mime)
            torch.testing.assert_close(
                seen, pictures[image.number, :, y : y + side, x : x + side], atol=1 / 255, rtol=0
            )


def test_on_the_very_images():
    found, images = explained(), tiny_images()
    suspects = usual_suspects(found.mistake_group, found.correct_group)
    assert suspects
    assert [found.filters.index(one.filter) for one in found.exemplars.filters] == suspects
    assert found.exemplars.notes == ()
    assert {len(one.images) for one in found.exemplars.filters} == {6}
    assert {one.kept for one in found.exemplars.filters} == {9}
    require_exact(found, images, images._images)


def test_on_the_images_of_a_reference():
    images = others()
    found = explained(taken_on(images), reference_images=images)
    assert found.exemplars.notes == ()
    require_exact(found, images, images._images)


def test_tails_of_two_halves_have_all_images():
    settings = replace(SETTINGS, method="pot", fit="exponential")
    images = tiny_images(220)
    found = explain(tiny_net(), images, settings=settings, classes=CLASSES)
    assert found.exemplars.notes == ()
    require_exact(found, images, images._images)


def test_images_that_are_not_at_hand():
    found = explained(taken_on(others()))
    wanted = {image.number for one in found.exemplars.filters for image in one.images}
    (note,) = found.exemplars.notes
    assert note.startswith(f"{len(wanted)} of {len(wanted)} pictures are not among the images at hand")
    assert all(image.box is None for one in found.exemplars.filters for image in one.images)
    assert Page(explain_page(found)).text.count("no picture") == sum(len(one.images) for one in found.exemplars.filters)


def test_names_alone_do_not_make_a_picture():
    """Two sets often have images of the same name and class."""
    images, namesakes = tiny_images(30, seed=3), tiny_images(30, seed=4)
    names = [(item.name, item.label) for item in images.items]
    same = {name for name in names if name in [(item.name, item.label) for item in namesakes.items]}
    found = explained(taken_on(images), reference_images=namesakes)
    shown = {(image.file, image.label) for one in found.exemplars.filters for image in one.images}
    assert shown & same
    assert any("make something else of them" in note for note in found.exemplars.notes)
    assert not any(pictures for pictures in found.crops.values())


def test_a_name_that_two_images_have_is_none():
    images = others()
    twice = LabelledTensors(images._images, [i.label for i in images.items], images._prepare, names=["same"] * 30)
    found = explained(taken_on(twice), reference_images=twice)
    assert "not among the images at hand" in found.exemplars.notes[0]


def test_a_reference_without_exemplars():
    found = explained(fit_reference(tiny_net(), tiny_images(), show_progress=False))
    assert found.exemplars.filters == ()
    assert "the reference keeps no exemplars" in found.exemplars.notes[0]
    assert "the reference keeps no exemplars" in Page(explain_page(found)).text


def test_nobody_wants_to_know():
    found = explained(settings=replace(SETTINGS, exemplars=0))
    assert (found.exemplars.filters, found.exemplars.notes) == ((), ())
    assert "What the suspects look for" not in explain_page(found)


def test_a_source_that_shows_small_pictures_only():
    images = tiny_images()
    small = _Small(images)
    found = explain(tiny_net(), small, settings=SETTINGS, classes=CLASSES)
    boxes = [image.box for one in found.exemplars.filters for image in one.images]
    again = [image.box for one in explained().exemplars.filters for image in one.images]
    assert boxes == again
    sizes = {(c.width, c.height) for pictures in found.crops.values() for c in pictures.values()}
    assert sizes <= {(3, 3), (5, 5)}


class _Small:
    """Images whose pictures are half as large as what the model sees."""

    def __init__(self, images):
        self._images = images
        self.items, self.skipped = images.items, images.skipped
        self.batches, self.mask, self.boxes = images.batches, images.mask, images.boxes

    def picture(self, position):
        seen = self._images.seen(position)
        return encode(seen.resize((seen.width // 2, seen.height // 2), Image.Resampling.BOX))


def test_read_again(tmp_path):
    found = explained()
    page = Page(found.write(tmp_path).read_text("utf-8"))
    assert Explanation.load(tmp_path).exemplars == found.exemplars
    assert without_text(page) == []
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    pictures = [svg for svg in page.all("svg") if svg.get("aria-label", "").startswith("What the filter sees")]
    assert len(pictures) == sum(len(one.images) for one in found.exemplars.filters)
    for one in found.exemplars.filters:
        assert f"Exemplars of {one.filter}" in [row.get("aria-label") for row in page.all("ol")]
    links = {link["href"] for link in page.all("a")}
    assert {f"#looks-{number}" for number in range(1, 1 + len(found.exemplars.filters))} <= links
