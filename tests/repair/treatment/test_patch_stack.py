import copy

import pytest
import torch
from torch import nn

from captum_paramsal.errors import PatchError
from captum_paramsal.repair import Patch, PatchStack


def changed(model, name, places, value):
    other = copy.deepcopy(model)
    with torch.no_grad():
        dict(other.named_parameters())[name].view(-1)[places] = value
    return other


@pytest.fixture
def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))


def state_of(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def equal(one, other):
    return all(torch.equal(one[name], other[name]) for name in other)


def test_patches_of_one_base_come_off_in_any_order(model):
    bare = state_of(model)
    patches = [Patch.between(model, changed(model, "0.weight", [place], 9.0)) for place in (0, 5, 7)]
    stack = PatchStack(model)
    for patch in patches:
        stack.put_on(patch)
    assert model[0].weight.view(-1)[[0, 5, 7]].tolist() == [9.0, 9.0, 9.0]
    stack.take_off(patches[1])
    assert model[0].weight.view(-1)[[0, 5, 7]].tolist() == [9.0, bare["0.weight"].view(-1)[5].item(), 9.0]
    stack.take_off(patches[0])
    stack.take_off(patches[2])
    assert equal(model.state_dict(), bare)
    assert stack.patches == ()


def test_patches_of_one_number_come_off_last_first(model):
    bare = state_of(model)
    stack = PatchStack(model)
    first = Patch.between(model, changed(model, "0.weight", [0, 1], 9.0))
    stack.put_on(first)
    second = Patch.between(model, changed(model, "0.weight", [1, 2], 7.0))
    stack.put_on(second)
    with pytest.raises(PatchError, match=r"1 of '0\.weight' with patch 1, put on later\. Take that one off first"):
        stack.take_off(first)
    assert stack.patches == (first, second)
    stack.take_off(second)
    stack.take_off(first)
    assert equal(model.state_dict(), bare)


def test_a_patch_of_the_base_must_be_apart_from_those_that_are_on(model):
    patches = [Patch.between(model, changed(model, "0.weight", [0], value)) for value in (9.0, 7.0)]
    stack = PatchStack(model)
    stack.put_on(patches[0])
    with pytest.raises(PatchError, match=r"it shares 1 of '0\.weight' with patch 0, which is on"):
        stack.put_on(patches[1])
    assert model[0].weight.view(-1)[0] == 9.0


def test_a_patch_is_put_on_once(model):
    patch, stack = Patch.between(model, changed(model, "0.weight", [0], 9.0)), PatchStack(model)
    stack.put_on(patch)
    with pytest.raises(PatchError, match="Expected a patch that is not on"):
        stack.put_on(patch)
    assert stack.patches == (patch,)


def test_strangers_are_refused(model):
    other = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    stack = PatchStack(model)
    with pytest.raises(PatchError, match="Nothing was changed"):
        stack.put_on(Patch.between(other, changed(other, "0.weight", [0], 1.0)))
    with pytest.raises(PatchError, match="Expected one of the 0 patches that are on"):
        stack.take_off(Patch.between(model, changed(model, "0.weight", [0], 1.0)))
    patch = Patch.between(model, changed(model, "0.weight", [0], 1.0))
    with torch.no_grad():
        model[1].bias.add_(1.0)
    with pytest.raises(PatchError, match="Expected the model as the stack left it"):
        stack.put_on(patch)


def test_a_state_dict_has_the_patch_and_the_model_has_not(model):
    bare = state_of(model)
    treated = changed(model, "1.bias", [0], 3.0)
    patch = Patch.between(model, treated, {"made for": "a test"})
    assert equal(patch.state_dict(model), treated.state_dict())
    assert equal(model.state_dict(), bare)


def test_what_a_patch_was_made_on_is_kept_in_its_file(model, tmp_path):
    patch = Patch.between(model, changed(model, "1.bias", [0], 3.0), {"group": 3})
    patch.save(tmp_path / "patch.safetensors")
    assert Patch.load(tmp_path / "patch.safetensors").about == {"group": 3}
