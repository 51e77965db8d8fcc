"""Images that influence each other: what is said of one does not depend on which others are beside it."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from captum_paramsal import CNNFixations, DiscernibleNeurons, ModelDoctor, ParameterSaliency, RandomModelWarning
from captum_paramsal.batch import ModelInputs
from captum_paramsal.profiles.influence import mixes_examples


class LessTheMean(nn.Module):
    """What an image has in common with the others of its batch is taken away; alone it stays."""

    def forward(self, x):
        return x - 0.5 * x.mean(0, keepdim=True)


def mixing(between):
    torch.manual_seed(0)
    return (
        nn.Sequential(
            nn.Conv2d(3, 6, 3), between, nn.ReLU(), nn.Conv2d(6, 5, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1),
            nn.Flatten(), nn.Linear(5, 3),
        )
        .eval()
        .double()
    )  # fmt: skip


BETWEEN = {"batch statistics": lambda: nn.BatchNorm2d(6, track_running_stats=False), "mean of the batch": LessTheMean}
SAME = {"photos": False, "one photo several times": True}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_notices_influence_too(dtype):
    x = torch.rand(6, 3, 9, 9, generator=torch.Generator().manual_seed(1)).to(dtype)
    x *= torch.linspace(0.2, 3, 6)[:, None, None, None].to(dtype)
    saliency = ParameterSaliency(mixing(LessTheMean()).to(dtype))
    together = saliency.attribute(x, target=0)
    alone = torch.cat([saliency.attribute(image[None], target=0) for image in x])
    assert torch.equal(together, alone)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_takes_no_rounding_for_influence(dtype):
    x = torch.rand(6, 3, 9, 9, generator=torch.Generator().manual_seed(1)).to(dtype)
    model = mixing(nn.BatchNorm2d(6)).to(dtype)
    assert not mixes_examples(model, ModelInputs.of(x, torch.zeros(6, dtype=torch.int64)))


@pytest.mark.parametrize("layer", ["0", "3"])
@pytest.mark.parametrize("between", BETWEEN)
@pytest.mark.parametrize("same", SAME)
def test_evidence_of_a_batch_is_that_of_its_images(between, layer, same):
    model = mixing(BETWEEN[between]())
    x = torch.randn(4, 3, 9, 9, generator=torch.Generator().manual_seed(1)).double()
    if SAME[same]:
        x[1], x[2] = x[0], x[0]
    doctor = ModelDoctor(model, layer, noise_samples=3)
    together = doctor.attribute(x, target=0)
    for image, row in zip(x, together, strict=True):
        # By hand: each perturbed copy goes through the rest by itself.
        maps = model[: int(layer) + 1](image[None]).detach()
        expected = 0
        for noise in doctor.settings.noise_for(maps.shape[1:]).to(maps):
            leaf = (maps + noise).requires_grad_()
            expected = expected + torch.autograd.grad(model[int(layer) + 1 :](leaf)[0, 0], leaf)[0].abs() / 3
        torch.testing.assert_close(row, expected[0])


def test_a_model_that_keeps_images_apart_runs_on_all_of_them():
    sizes = []
    model = mixing(nn.BatchNorm2d(6))
    model[0].register_forward_hook(lambda _module, _args, output: sizes.append(len(output)))
    ModelDoctor(model, "3", noise_samples=3).attribute(torch.rand(4, 3, 9, 9).double(), target=0)
    assert max(sizes) == 4


@pytest.mark.parametrize("method", [DiscernibleNeurons, CNNFixations])
def test_traces_take_the_statistics_of_the_image_itself(method):
    model = mixing(BETWEEN["batch statistics"]())
    x = torch.randn(3, 3, 9, 9, generator=torch.Generator().manual_seed(1)).double()
    together = method(model).attribute(x, target=1)
    alone = torch.cat([method(model).attribute(image[None], target=1) for image in x])
    torch.testing.assert_close(together, alone)


class Between(nn.Module):
    """A function of the whole batch."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


OF_THE_BATCH = {
    "largest": lambda x: x / x.max() - 0.3,
    "statistics by hand": lambda x: (x - x.mean((0, 2, 3), keepdim=True)) / x.std((0, 2, 3), keepdim=True),
    "statistics by a function": lambda x: functional.batch_norm(x, None, None, training=True),
    "a little of the mean": lambda x: x - 0.02 * x.mean(0),
}


@pytest.mark.parametrize("name", OF_THE_BATCH)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_functions_of_the_batch_are_found_out_by_every_method(name, dtype):
    model = mixing(Between(OF_THE_BATCH[name])).to(dtype)
    # Alike in what such functions read, so that two of them do not show it.
    x = torch.rand(4, 3, 9, 9, generator=torch.Generator().manual_seed(1)).to(dtype)
    x[:, :, 0, 0], x[2:] = 1, x[2:] / 2
    methods = [
        ParameterSaliency(model).attribute, DiscernibleNeurons(model).attribute, CNNFixations(model).attribute,
        ModelDoctor(model, "3", noise_samples=0).attribute,
    ]  # fmt: skip
    for method in methods:
        together, alone = method(x, target=0), torch.cat([method(one[None], target=0) for one in x])
        torch.testing.assert_close(together, alone, rtol=1e-3, atol=1e-6)


def test_a_model_that_is_random_in_evaluation_mode_is_named():
    model = mixing(Between(functional.dropout))
    x = torch.rand(4, 3, 9, 9).double()
    with pytest.warns(RandomModelWarning, match=r"functional.dropout\(x\)"):
        ParameterSaliency(model).attribute(x, target=0)
