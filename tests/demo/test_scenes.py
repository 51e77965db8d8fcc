"""The truth that comes with the scenes is true, and the scenes never change."""

import hashlib

import numpy as np
import pytest
import torch

from captum_paramsal.demo import CLASSES, CUES, SPLITS, Scenes, load_scenes, make_scenes
from captum_paramsal.errors import ParamsalError

FIELDS = ("images", "labels", "boxes", "masks", "cue_labels", "cue_masks")


@pytest.fixture(scope="module")
def scenes():
    return make_scenes(240, seed=11)


def assert_same(one: Scenes, other: Scenes, names=FIELDS) -> None:
    for name in names:
        assert torch.equal(getattr(one, name), getattr(other, name)), name


def test_shapes_and_types(scenes):
    n = len(scenes)
    assert scenes.images.shape == (n, 3, 64, 64)
    assert scenes.images.dtype == torch.float32
    assert scenes.images.is_contiguous()
    assert scenes.boxes.shape == (n, 4)
    assert scenes.masks.shape == scenes.cue_masks.shape == (n, 64, 64)
    assert scenes.masks.dtype == scenes.cue_masks.dtype == torch.bool
    assert scenes.labels.dtype == scenes.boxes.dtype == scenes.cue_labels.dtype == torch.int64


def test_images_survive_eight_bits(scenes):
    assert scenes.images.min() >= 0
    assert scenes.images.max() <= 1
    assert torch.equal((scenes.images * 255).round() / 255, scenes.images)


def test_labels_are_in_range_and_balanced(scenes):
    assert len(CLASSES) == len(CUES) == 8
    assert scenes.labels.bincount().tolist() == [30] * 8
    assert scenes.cue_labels.min() == -1
    assert scenes.cue_labels.max() == 7


def test_box_is_the_tight_box_of_the_mask(scenes):
    for mask, box in zip(scenes.masks, scenes.boxes.tolist(), strict=True):
        rows, columns = mask.nonzero(as_tuple=True)
        tight = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        assert box == [int(edge) for edge in tight]


def test_object_is_small_and_mostly_off_centre(scenes):
    share = scenes.masks.flatten(1).float().mean(1)
    assert share.min() > 0.015
    assert share.max() < 0.15
    assert scenes.masks[:, 32, 32].float().mean() < 0.25


def test_patch_lies_clear_of_the_object(scenes):
    # Two pixels of room: the object's mask grown by two does not touch the patch.
    grown = torch.nn.functional.max_pool2d(scenes.masks[:, None].float(), 5, stride=1, padding=2)[:, 0] > 0
    assert not (grown & scenes.cue_masks).any()


def test_patch_is_there_exactly_when_it_speaks_for_a_class(scenes):
    share = scenes.cue_masks.flatten(1).float().mean(1)
    assert torch.equal(share > 0, scenes.cue_labels >= 0)
    assert share[share > 0].min() > 0.03


def test_object_and_patch_stand_out_from_what_a_bare_scene_shows(scenes):
    bare = make_scenes(240, seed=11, cue_presence=0)
    changed = (bare.images != scenes.images).any(1)
    # Half covered pixels at the rim change too, so the patch's mask is grown by one.
    rim = torch.nn.functional.max_pool2d(scenes.cue_masks[:, None].float(), 3, stride=1, padding=1)[:, 0] > 0
    assert not (changed & ~rim).any()
    assert (changed & scenes.cue_masks).sum() > 0.95 * scenes.cue_masks.sum()


def test_the_chances_decide_the_patch_alone(scenes):
    loyal = make_scenes(240, seed=11, cue_agreement=1, cue_presence=1)
    hostile = make_scenes(240, seed=11, cue_agreement=0, cue_presence=1)
    assert_same(loyal, hostile, ("labels", "boxes", "masks", "cue_masks"))
    assert torch.equal(loyal.cue_labels, loyal.labels)
    assert (hostile.cue_labels != hostile.labels).all()
    assert hostile.cue_labels.unique().tolist() == list(range(8))
    there = scenes.cue_labels >= 0
    assert torch.equal(loyal.cue_masks[there], scenes.cue_masks[there])


def test_chances_are_met():
    scenes = make_scenes(400, seed=4, cue_agreement=0.7, cue_presence=0.8)
    there = scenes.cue_labels >= 0
    # Four standard errors.
    assert abs(there.float().mean() - 0.8) < 4 * (0.8 * 0.2 / 400) ** 0.5
    agrees = (scenes.cue_labels == scenes.labels)[there].float()
    assert abs(agrees.mean() - 0.7) < 4 * (0.7 * 0.3 / len(agrees)) ** 0.5


def test_scenes_never_change():
    scenes = make_scenes(16, seed=2)
    digest = hashlib.sha256()
    digest.update((scenes.images * 255).round().to(torch.uint8).numpy().tobytes())
    for name in ("labels", "boxes", "cue_labels"):
        digest.update(getattr(scenes, name).numpy().astype("<i8").tobytes())
    for name in ("masks", "cue_masks"):
        digest.update(getattr(scenes, name).numpy().tobytes())
    assert digest.hexdigest()[:16] == "0aead73a8a9a6bf6"


def test_a_scene_depends_on_seed_and_number_only(scenes):
    assert_same(make_scenes(20, seed=11), scenes[:20])
    assert not torch.equal(make_scenes(4, seed=12).images, scenes.images[:4])


def test_random_states_stay_as_they_are():
    torch.manual_seed(5)
    before_torch = torch.get_rng_state()
    before_numpy = np.random.get_state()[1].copy()  # noqa: NPY002 # the very state that must not move
    make_scenes(3, seed=0)
    assert torch.equal(torch.get_rng_state(), before_torch)
    assert np.array_equal(np.random.get_state()[1], before_numpy)  # noqa: NPY002


def test_slicing(scenes):
    third = scenes[3]
    assert len(third) == 1
    assert_same(third, scenes[3:4])
    assert_same(third, scenes[np.int64(3)])
    assert_same(third, scenes[torch.tensor(3)])
    assert_same(scenes[-1], scenes[239:])
    assert_same(scenes[[5, 2]], scenes[torch.tensor([5, 2])])
    assert_same(scenes[[5, 2]][1], scenes[2])
    assert (scenes[scenes.labels == 6].labels == 6).all()
    assert len(list(scenes[:4])) == 4
    assert len(scenes[:0]) == len(make_scenes(0, seed=0)) == 0
    with pytest.raises(IndexError, match="Expected a scene from 0 to 239, got 240"):
        scenes[240]


def test_splits_differ_and_have_the_documented_sizes():
    assert {split: recipe["n"] for split, recipe in SPLITS.items()} == {
        "train": 4096,
        "validation": 480,
        "test": 240,
    }
    assert len({recipe["seed"] for recipe in SPLITS.values()}) == 3
    assert_same(load_scenes()[:8], make_scenes(**{**SPLITS["test"], "n": 8}))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n": -1, "seed": 0}, "Expected `n` from 0 .*, got -1"),
        ({"n": 1, "seed": 2**32}, "Expected `seed` from 0 to 4294967295, got 4294967296"),
        ({"n": 1, "seed": 0, "cue_agreement": 1.5}, "Expected `cue_agreement` from 0 to 1, got 1.5"),
        ({"n": 1, "seed": 0, "cue_presence": float("nan")}, "Expected `cue_presence` from 0 to 1, got nan"),
    ],
)
def test_arguments_out_of_range(arguments, message):
    with pytest.raises(ParamsalError, match=message):
        make_scenes(**arguments)


def test_unknown_split():
    with pytest.raises(ParamsalError, match=r"Expected a split out of 'train', .*, got 'val'"):
        load_scenes("val")
