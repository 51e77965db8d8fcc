"""What mistakes come from, on a model whose classes are bright pixels of a channel each."""

import pytest
import torch
from torch import nn

from captum_paramsal.errors import InputError, InterventionError
from captum_paramsal.functional import KINDS_OF_MISTAKES, KindThresholds, kind_of_mistake, strongest_window
from captum_paramsal.repair import MistakeKinds, mask_pixels, mistake_kinds

BOX = torch.tensor([[2.0, 2.0, 6.0, 6.0]])
OTHER, FEATURES, BACKGROUND, DOUBT = KINDS_OF_MISTAKES


def brightest():
    """A model that says which of three channels has the brightest pixel."""
    return nn.Sequential(nn.AdaptiveMaxPool2d(1), nn.Flatten()).train()


def photo(*pixels):
    """An image of 10 x 10 pixels that is dark but for some ``(channel, y, x, value)``."""
    image = torch.zeros(1, 3, 10, 10)
    for channel, y, x, value in pixels:
        image[0, channel, y, x] = value
    return image


IMAGES = {
    OTHER: photo((0, 3, 3, 2.0), (1, 8, 8, 5.0)),
    BACKGROUND: photo((0, 3, 3, 2.0), (1, 8, 8, 5.0), (1, 0, 0, 5.0)),
    DOUBT: photo((1, 4, 4, 5.0)),
    FEATURES: photo((0, 3, 3, 4.95), (1, 4, 4, 5.0)),
}


def found_for(images, boxes=BOX, **options):
    maps = images.abs().sum(dim=1)
    labels = torch.zeros(len(images), dtype=torch.int64)
    return mistake_kinds(brightest(), images, labels, maps, boxes.expand(len(images), -1), **options)


@pytest.mark.parametrize("kind", IMAGES)
def test_each_kind(kind):
    assert found_for(IMAGES[kind]).names == [kind]


def test_all_at_once_are_as_one_by_one():
    images = torch.cat([*IMAGES.values()])
    result = found_for(images)
    assert result.names == [*IMAGES]
    assert [result.of(kind).tolist() for kind in IMAGES] == [[0], [1], [2], [3]]
    single = [found_for(image) for image in images.split(1)]
    for name in ("wrong", "true", "spots", "inside", "area"):
        torch.testing.assert_close(
            getattr(result, name), torch.cat([getattr(each, name) for each in single]), equal_nan=True
        )
    rows = result.to_table()
    assert [row["kind"] for row in rows] == [*IMAGES]
    assert rows[0]["wrong class, object alone"] == result.wrong[0, 1].item()
    assert (rows[3]["area"], rows[3]["inside"]) == (0.16, 1.0)
    assert [row["mistakes"] for row in result.shares()] == [1, 1, 1, 1]
    assert "label in doubt: 1, 0.250 (0.046 to 0.699)" in repr(result)


def test_views_are_those_of_masked_pixels():
    images = torch.cat([*IMAGES.values()])
    labels = torch.zeros(4, dtype=torch.int64)
    result, boxes = found_for(images, fill="mean"), BOX.expand(4, -1)
    inside = torch.zeros(10, 10, dtype=torch.bool)
    inside[2:6, 2:6] = True
    hidden = mask_pixels(brightest(), images, labels, boxes=boxes, fill="mean")
    shown = mask_pixels(brightest(), images, labels, masks=~inside, fill="mean")
    torch.testing.assert_close(result.wrong[:, [0, 2]], hidden.wrong)
    torch.testing.assert_close(result.true[:, [0, 2]], hidden.true)
    torch.testing.assert_close(result.wrong[:, [0, 1]], shown.wrong)
    spot = mask_pixels(brightest(), images[:2], labels[:2], boxes=result.spots[:2], fill="mean")
    torch.testing.assert_close(result.wrong[:2, [0, 3]], spot.wrong)
    # Of these nothing of the map is outside.
    assert result.wrong[2:, 3].isnan().all()
    assert result.spots[2:].isnan().all()


def test_a_slow_twin_of_the_rules():
    generator = torch.Generator().manual_seed(0)
    wrong, true = torch.rand(2, 400, 4, generator=generator, dtype=torch.float64)
    wrong[::7, 3] = wrong[::11, 2] = torch.nan
    thresholds = KindThresholds(outside=0.1, spot=0.3, doubt=0.2)
    kinds = kind_of_mistake(wrong, true, thresholds)
    expected = []
    for (whole, alone, without, elsewhere), (_, label, *_) in zip(wrong.tolist(), true.tolist(), strict=True):
        if without > alone + 0.1:
            expected.append(OTHER if whole - elsewhere >= 0.3 * whole else BACKGROUND)
        else:
            expected.append(DOUBT if alone >= label + 0.2 else FEATURES)
    assert [KINDS_OF_MISTAKES[kind] for kind in kinds.tolist()] == expected
    assert set(expected) == {*KINDS_OF_MISTAKES}


def test_a_slow_twin_of_the_window():
    values = torch.rand(6, 7, 9, generator=torch.Generator().manual_seed(1))
    for map_, box in zip(values, strongest_window(values, (3, 2)).long().tolist(), strict=True):
        sums = {(y, x): map_[y : y + 3, x : x + 2].double().sum().item() for y in range(5) for x in range(8)}
        y, x = max(sums, key=sums.get)
        assert box == [x, y, x + 2, y + 3]


def test_an_object_that_is_the_whole_image():
    result = found_for(torch.cat([*IMAGES.values()]), boxes=torch.tensor([[0.0, 0.0, 10.0, 10.0]]))
    assert set(result.names) <= {FEATURES, DOUBT}
    assert result.wrong[:, 2:].isnan().all()
    torch.testing.assert_close(result.wrong[:, 0], result.wrong[:, 1])


def test_other_thresholds_ask_no_model():
    result = found_for(torch.cat([*IMAGES.values()]))
    other = result.with_thresholds(KindThresholds(outside=1.0, doubt=-1.0))
    assert other.names == [DOUBT] * 4
    assert result.names == [*IMAGES]
    assert other.wrong is result.wrong


def test_saved_and_loaded(tmp_path):
    result = found_for(torch.cat([*IMAGES.values()]), thresholds=KindThresholds(doubt=0.25))
    result.save(tmp_path / "kinds.safetensors")
    loaded = MistakeKinds.load(tmp_path / "kinds.safetensors")
    assert loaded.thresholds == result.thresholds
    assert loaded.to_table()[0] == result.to_table()[0]
    with pytest.raises(InterventionError, match="Expected"):
        MistakeKinds.load(tmp_path / "nothing.safetensors")


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"window": 0.0}, InterventionError, r"`window` in \(0, 1\].*got 0.0"),
        ({"window": 1.5}, InterventionError, "got 1.5"),
        ({"fill": "grey"}, InterventionError, "got 'grey'"),
        ({"boxes": torch.tensor([[0.0, 0.0, 40.0, 4.0]])}, InputError, "within the image of 10 x 10"),
    ],
)
def test_what_is_refused(options, error, words):
    with pytest.raises(error, match=words):
        found_for(IMAGES[OTHER], **options)


def test_correct_images_and_other_kinds_are_refused():
    with pytest.raises(InterventionError, match="Leave them out: only a mistake is of a kind"):
        found_for(photo((0, 3, 3, 5.0)))
    with pytest.raises(InputError, match=r"`maps` of size \(1, 10, 10\)"):
        mistake_kinds(brightest(), IMAGES[OTHER], torch.tensor([0]), torch.zeros(1, 4, 4), BOX)
    with pytest.raises(InterventionError, match=r"one of another object, .* got 'weather'"):
        found_for(IMAGES[OTHER]).of("weather")
    for wrong in ({"spot": -0.1}, {"outside": 2.0}, {"doubt": float("nan")}):
        with pytest.raises(InputError, match=f"Expected `{next(iter(wrong))}` from"):
            KindThresholds(**wrong)
