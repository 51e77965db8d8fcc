"""How often a batch makes the host wait for a GPU: a few times, however many layers a network has."""

import pytest
import torch
from cases.pretended_gpu import pretended_gpu
from torch import nn

from captum_paramsal import (
    CNNFixations,
    DiscernibleNeurons,
    InputSpaceSaliency,
    ModelDoctor,
    ParameterSaliency,
    POTSaliency,
    Reference,
)
from captum_paramsal.hooks import output_peaks

IMAGES, LABELS = torch.rand(4, 3, 12, 12, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 2, 0])
MANY = torch.rand(250, 3, 12, 12, generator=torch.Generator().manual_seed(1))
SHALLOW, DEEP = 3, 7


def network(depth):
    torch.manual_seed(0)
    blocks = [
        module
        for number in range(depth)
        for module in (nn.Conv2d(8 if number else 3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
    ]
    return nn.Sequential(*blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3)).eval()


def reference(model, tail=None):
    return Reference.fit(model, [(MANY, torch.arange(250) % 3)], tail=tail, show_progress=False)


METHODS = {
    "saliency": (8, ParameterSaliency),
    "saliency with a reference": (9, lambda model: ParameterSaliency(model, reference(model))),
    "POT": (8, lambda model: POTSaliency(model, reference(model, 0.1), fit="exponential")),
    "pixels": (10, lambda model: InputSpaceSaliency(ParameterSaliency(model, reference(model)))),
    "pixels of tails": (9, lambda model: InputSpaceSaliency(POTSaliency(model, reference(model, 0.1)))),
    "Model Doctor": (13, ModelDoctor),
}
"""Most waits for a batch, and the method."""

TRACES = {"discernible neurons": (24, DiscernibleNeurons), "CNN-Fixations": (5, CNNFixations)}
"""Most waits for a layer with weights, beyond those for a batch: what it keeps are lists, as long as values have it."""

MOST_FOR_A_TRACE = 60


def waits_of_a_batch(depth, make):
    model = network(depth)
    method = make(model)
    # The first call of a shape runs the model on one and on two images, and looks at what each layer makes of them.
    expected = method.attribute(IMAGES, target=LABELS)
    with pretended_gpu(model, IMAGES, LABELS) as gpu:
        found = method.attribute(IMAGES, target=LABELS)
    assert gpu.holds(found)
    assert torch.equal(found, expected)
    return gpu.waits


@pytest.mark.parametrize("name", METHODS)
def test_a_batch_waits_a_few_times_whatever_the_depth(name):
    most, make = METHODS[name]
    waits = waits_of_a_batch(SHALLOW, make)
    assert waits.total() <= most
    assert waits_of_a_batch(DEEP, make) == waits


@pytest.mark.parametrize("name", TRACES)
def test_a_trace_waits_so_often_for_each_layer(name):
    most, make = TRACES[name]
    shallow, deep = (waits_of_a_batch(depth, make).total() for depth in (SHALLOW, DEEP))
    assert deep - shallow <= most * (DEEP - SHALLOW)
    assert shallow - most * SHALLOW <= MOST_FOR_A_TRACE


@pytest.mark.parametrize(("tail", "exemplars", "most"), [(None, None, 9), (0.1, None, 10), (None, 2, 12), (0.1, 2, 13)])
def test_a_batch_of_a_reference_waits_a_few_times_whatever_the_depth(tail, exemplars, most, monkeypatch):
    monkeypatch.setattr(output_peaks, "_AT_ONCE", set())

    def waits_of(depth, batches):
        model = network(depth)
        with pretended_gpu(model, IMAGES, LABELS) as gpu:
            given = [(IMAGES, LABELS)] * batches
            Reference.fit(model, given, tail=tail, exemplars=exemplars, show_progress=False)
        return gpu.waits

    for depth in (SHALLOW, DEEP):
        assert (waits_of(depth, 4) - waits_of(depth, 3)).total() <= most


def test_what_is_pretended_is_noticed():
    model = network(1)
    with pretended_gpu(model, IMAGES) as gpu:
        found = model(IMAGES)
        assert gpu.holds(found)
        assert gpu.holds(torch.zeros(3, device=found.device))
        assert gpu.holds(LABELS.to(found.device))
        assert not gpu.holds(LABELS)
        assert not gpu.waits
        assert not gpu.holds(found.cpu())
        assert bool((found > -torch.inf).all())
        assert found[found.isnan()].tolist() == []
        assert [what for what, _ in gpu.waits] == ["to the host", "_local_scalar_dense", "mask", "tolist"]
        with pytest.raises(AssertionError, match="mul takes tensors of the device together with one of the host"):
            found * torch.ones(3)
        with pytest.raises(AssertionError, match="NumPy sees no tensors"):
            found.detach().numpy()
