"""Nothing is computed of tensors of two devices, as a pretended GPU shows; a real one is in ``test_gpu.py``."""

import pytest
import torch
from cases.pretended_gpu import pretended_gpu
from contract import doors
from contract.doors import DOORS, Changed, known
from contract.registry import ENTRIES
from contract.samples import SAMPLES
from torch.utils._pytree import tree_leaves

from captum_paramsal.hooks import output_peaks

HIDDEN = "tokens"
"""In it, PyTorch makes numbers of its own where ``torch.func`` looks up an embedding, on what is a CPU after all."""

CASES = [(entry, sample) for entry in ENTRIES for sample in SAMPLES if sample not in entry.excluded | {HIDDEN: ""}]


@pytest.fixture(autouse=True)
def _waited_for(monkeypatch):
    monkeypatch.setattr(output_peaks, "_AT_ONCE", set())


@pytest.mark.filterwarnings("ignore:.* mistakes have a right image of their class")
@pytest.mark.parametrize("door", DOORS)
def test_every_door_leads_through(door, monkeypatch):
    of_model = known()
    model, images = Changed().eval(), doors.IMAGES.clone()
    monkeypatch.setattr(doors, "IMAGES", images)
    # Reports bring the images of their source to the model.
    there = [] if door.startswith("report.") else [images]
    with pretended_gpu(model, *there) as gpu:
        DOORS[door].call(model, of_model)
    assert gpu.waits


@pytest.mark.slow
@pytest.mark.parametrize(("entry", "name"), CASES, ids=str)
def test_every_method_gives_the_same(entry, name):
    sample = SAMPLES[name]()
    method = entry.build(sample)
    expected = tree_leaves(method.attribute(**sample.arguments()))
    there = [value for value in tree_leaves((sample.inputs, sample.extra)) if isinstance(value, torch.Tensor)]
    with pretended_gpu(sample.model, *there) as gpu:
        found = tree_leaves(method.attribute(**sample.arguments()))
    assert all(gpu.holds(value) for value in found)
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))
