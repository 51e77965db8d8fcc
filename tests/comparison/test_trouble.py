"""What goes wrong is told, and the rest goes on."""

import pytest
import torch
from comparison.small_runs import QUICK, small_run
from metrics.small_cases import small_model, some_images
from torch import nn

from captum_paramsal.comparison import PRESETS, Failure, compare
from captum_paramsal.errors import InputError, ParamsalError, TargetError
from captum_paramsal.metrics import METRICS, Column, Infidelity, InputMaps, Metric, Sensitivity


def failing_on(bad):
    """A method that cannot explain one image."""

    def method(inputs):
        if (inputs == bad).all(dim=(1, 2, 3)).any():
            message = "not this one"
            raise RuntimeError(message)
        return inputs**2

    return method


@pytest.mark.parametrize("batch_size", [1, 2, 16])
def test_a_method_that_raises_on_one_image(batch_size):
    images, _ = some_images(5)
    metrics = [Infidelity(samples=3), "deletion"]
    methods = {"mine": failing_on(images[3]), "saliency": "saliency"}
    found = small_run(methods, images, metrics=metrics, batch_size=batch_size)
    assert found.failures == (Failure("mine", 3, "maps", "RuntimeError: not this one"),)
    mine, other = found.scores[0], found.scores[1]
    assert mine[:, 3].isnan().all()
    assert not mine[:-1, [0, 1, 2, 4]].isnan().any()
    assert not other[:-1].isnan().any()
    assert not found.degenerate.any()
    assert found.agreements[3, 0].isnan().all()
    assert found.maps[3][0].isnan().all()
    row = found.table()[0]
    assert (row["images"], row["failed"], row["degenerate"]) == (4, 1, 0)
    good = small_run({"mine": lambda inputs: inputs**2}, images[[0, 1, 2, 4]], metrics=metrics)
    torch.testing.assert_close(good.scores[0, :-2], mine[:-2, [0, 1, 2, 4]])


class Fussy(Metric):
    """A user's metric that does not take images with a high first value."""

    name = "fussy"
    columns = (Column("fuss", "", "lower", "Made up."),)

    def score(self, case):
        if (case.images[:, 0, 0, 0] > 5).any():
            message = "too bright"
            raise ValueError(message)
        return {"fuss": case.judged(case.images[:, 0, 0, 0])}


def test_a_metric_that_raises_on_one_image():
    images, _ = some_images()
    images[1, 0, 0, 0] = 9
    found = small_run(["saliency"], images, metrics=[Fussy(), "sparsity"])
    assert found.failures == (Failure("saliency", 1, "fussy", "ValueError: too bright"),)
    assert found.column("fuss")[0].isnan().tolist() == [False, True, False]
    assert not found.column("sparsity").isnan().any()
    assert found.where(torch.tensor([False, True, True])).failures[0].image == 0
    assert found.where(torch.tensor([True, False, True])).failures == ()


@pytest.mark.parametrize(
    ("method", "words"),
    [
        (lambda inputs: inputs.flatten(1), "Scores of filters or neurons are no maps"),
        (lambda inputs: inputs[:, :, :, :0], "got"),
        (lambda _: None, "got None"),
        (lambda inputs: (inputs, inputs), "got 2 values"),
    ],
)
def test_maps_of_the_wrong_shape(method, words):
    found = small_run({"mine": method, "saliency": "saliency"}, metrics=["sparsity"])
    assert [(one.method, one.image, one.step) for one in found.failures] == [("mine", i, "maps") for i in range(3)]
    assert all(words in one.message and one.message.startswith("InputError: Expected") for one in found.failures)
    assert found.column("sparsity").isnan().tolist() == [[True] * 3, [False] * 3]


def test_degenerate_maps_are_flagged_and_never_scored():
    def method(inputs):
        maps = inputs**2
        maps[0], maps[1] = 0, 7.5
        maps[2, 0, 3, 3] = torch.nan
        return maps

    images, targets = some_images(4)
    boxes = torch.tensor([[1, 1, 4, 4]] * 4)
    metrics = [*QUICK, "infidelity_of_loss", "deletion", "insertion", "pointing_game", "iou", "sparsity"]
    metrics += ["increase_in_confidence"]
    found = small_run({"mine": method, "saliency": "saliency"}, images, targets, metrics=metrics, boxes=boxes)
    assert found.degenerate.tolist()[:2] == [[True, True, True, False], [False] * 4]
    assert not found.degenerate[2:].any()
    assert found.scores[0, :-2, :3].isnan().all()
    assert not found.scores[0, :-2, 3].isnan().any()
    assert not found.column("seconds")[0].isnan().any()
    assert found.failures == ()
    assert found.table()[0]["degenerate"] == 3
    assert found.table()[0]["images"] == 1
    assert [row["degenerate"] for row in found.per_image() if row["method"] == "mine"] == [True, True, True, False]
    assert found.agreements[:3, 0].isnan().all()


def test_baselines_have_rows_of_their_own():
    boxes = torch.tensor([[0, 0, 5, 4], [6, 5, 10, 8], [0, 0, 10, 8]])
    found = small_run(["saliency"], metrics=["pointing_game", "iou", "deletion"], boxes=boxes)
    assert found.methods[0] == "saliency"
    assert {*found.methods[1:]} == {"centre pixel", "random pixel", "whole image", "random order"}
    hits = found.column("pointing game")
    torch.testing.assert_close(hits[found.methods.index("random pixel")], torch.tensor([0.25, 0.15, 1.0]).double())
    overlap = found.column("iou")[found.methods.index("whole image")]
    torch.testing.assert_close(overlap, torch.tensor([0.25, 0.15, 1.0]).double())
    assert found.column("deletion")[found.methods.index("centre pixel")].isnan().all()
    assert found.agreement.shape == (1, 1)


@pytest.mark.parametrize("name", [name for name, make in METRICS.items() if make().needs_boxes])
def test_no_boxes_where_a_metric_needs_them(name):
    with pytest.raises(InputError, match=f"Expected `boxes` for {name}, got None"):
        small_run(metrics=["deletion", name])


def test_boxes_that_do_not_go_with_the_images():
    with pytest.raises(InputError, match=r"3"):
        small_run(metrics=["iou"], boxes=torch.tensor([[0, 0, 2, 2]] * 2))


def test_images_without_a_box_are_not_judged_by_boxes():
    boxes = [
        torch.tensor([[0.0, 0, 5, 5]]),
        torch.full((1, 4), torch.nan),
        torch.tensor([[0.0, 0, 9, 5], [2, 2, 3, 3]]),
    ]
    found = small_run(["saliency"], metrics=["pointing_game"], boxes=boxes)
    assert found.column("pointing game")[0].isnan().tolist() == [False, True, False]
    assert found.failures == ()


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"methods": ["salincy"]}, InputError, "nearest: saliency"),
        ({"methods": "saliency"}, InputError, r"write \['saliency'\]"),
        ({"methods": {"mine": 3}}, InputError, "got int"),
        ({"methods": ["input_space_saliency"]}, InputError, "Expected a `reference` for 'input_space_saliency'"),
        ({"metrics": ["infidelty"]}, ParamsalError, "nearest: 'infidelity'"),
        ({"metrics": "infidelity"}, InputError, r"write \['infidelity'\]"),
        ({"metrics": [Infidelity(samples=2), Infidelity(samples=3)]}, InputError, "infidelity.* more than once"),
        ({"images": torch.zeros(0, 3, 8, 10)}, InputError, "got none"),
        ({"images": [torch.zeros(8, 10)]}, InputError, r"got torch.float32 \(8, 10\)"),
        ({"images": torch.zeros(2, 3, 8, 10, dtype=torch.uint8)}, InputError, "floating point.*got torch.uint8"),
        ({"images": [[1.0]]}, InputError, "got list"),
        ({"images": torch.full((2, 3, 8, 10), torch.nan).double()}, InputError, "finite"),
        ({"targets": [0, 1]}, TargetError, "3"),
        ({"targets": 4}, TargetError, "from 0 to 3, got 4"),
        ({"targets": (1, 2, 3)}, TargetError, "indices per example"),
        ({"targets": torch.tensor([0.0, 1.0, 2.0])}, TargetError, "integers"),
        ({"batch_size": 0}, InputError, "at least 1, got 0"),
        ({"model": small_model()[:4]}, InputError, r"class scores \(\d+, C\)"),
    ],
)
def test_bad_input(options, error, words):
    with pytest.raises(error, match=words):
        small_run(**{"methods": ["saliency"], **options})


@pytest.mark.parametrize("methods", [[], {}])
def test_no_method(methods):
    with pytest.raises(InputError, match="at least one method"):
        compare(methods, small_model(), some_images()[0], show_progress=False)


def test_a_preset_that_the_model_has_no_place_for():
    flat = nn.Sequential(nn.Flatten(), nn.Linear(240, 4)).double()
    with pytest.raises(ParamsalError, match="Expected"):
        small_run(["grad_cam"], model=flat)
    found = small_run(["saliency"], model=flat, metrics=["sparsity"])
    assert found.failures == ()


def test_wrapped_methods_keep_their_settings():
    found = small_run({"mine": InputMaps(lambda inputs: inputs[:, :1, ::2, ::2], interpolate_mode="nearest")})
    assert torch.equal(found.maps[0][0, 0::2], found.maps[0][0, 1::2])
    assert found.context["methods"]["mine"].endswith("interpolate_mode='nearest')")


def test_sensitivity_of_a_constant_method_is_not_perfect():
    found = small_run({"mine": torch.zeros_like}, metrics=[Sensitivity(samples=2)])
    assert found.column("sensitivity").isnan().all()


def test_every_preset_has_a_description():
    assert all(preset.description for preset in PRESETS.values())
