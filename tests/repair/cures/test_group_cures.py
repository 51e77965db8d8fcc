"""Groups are cured one after the other on the same model, and no image judges what it taught."""

import copy

import pytest
import torch
from torch import nn

from captum_paramsal import PatchError
from captum_paramsal.repair import CureSettings, cure, cure_groups

SETTINGS = CureSettings(count=4, steps=60, learning_rate=0.05, keep=1.0)


@pytest.fixture(scope="module")
def case():
    """A network that tells four directions apart, two classes of which have lost the weights that tell them."""
    torch.manual_seed(0)
    labels = torch.arange(1200) % 4
    inputs = torch.randn(1200, 1, 4, 4)
    inputs[torch.arange(1200), 0, labels, :] += 3
    model = nn.Sequential(nn.Conv2d(1, 4, (1, 4)), nn.ReLU(), nn.Flatten(), nn.Linear(16, 4))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(150):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(inputs), labels).backward()
        optimizer.step()
    with torch.no_grad():
        model[3].bias[0] -= 14
        model[3].bias[2] -= 14
    model.eval()
    wrong = model(inputs).argmax(dim=1) != labels
    groups = [[(inputs[wrong & (labels == one)], labels[wrong & (labels == one)])] for one in (0, 2)]
    return model, groups, [(inputs, labels)], wrong


@pytest.fixture(scope="module")
def found(case):
    model, groups, every, _ = case
    return cure_groups(model, [*groups, [(groups[0][0][0][:5], groups[0][0][1][:5])]], every, settings=SETTINGS)


def test_each_is_cured_on_the_model_with_those_before(case, found):
    model, groups, every, _ = case
    first = cure(model, groups[0], every, settings=SETTINGS, show_progress=False)
    assert first.kept, str(first)
    assert found.cures[0].verdict.reason == first.verdict.reason
    patched = copy.deepcopy(model)
    first.apply(patched)
    second = cure(patched, groups[1], every, settings=SETTINGS, show_progress=False)
    assert found.cures[1].verdict.reason == second.verdict.reason
    assert list(found.patches) == [number for number, one in enumerate((first, second)) if one.kept]


def test_what_judges_one_cure_never_taught_another(found):
    roles = [
        {part: set(one.parts["keep"][part].tolist()) for part in ("learn", "choose", "judge")} for one in found.cures
    ]
    for one in roles:
        for other in roles:
            assert not one["judge"] & (other["learn"] | other["choose"])


def test_what_an_earlier_cure_put_right_is_left_out(case, found):
    model, groups, _, _ = case
    patched = copy.deepcopy(model)
    found.apply(patched)
    inputs, labels = groups[0][0]
    right = (patched(inputs[:5]).argmax(dim=1) == labels[:5]).nonzero()[:, 0]
    assert found.cures[2].parts["mistakes"]["left out"].tolist() == right.tolist()
    assert found.cures[2].verdict.status == "too few"
    assert f"{5 - len(right)} mistakes beside {len(right)} that are right already" in found.cures[2].verdict.reason
    row = found.to_table()[2]
    assert (row["given"], row["already right"], found.already_right[2]) == (5, len(right), len(right))
    assert len(right) > 0


def test_on_and_off_to_the_last_bit(case, found):
    model = copy.deepcopy(case[0])
    before = copy.deepcopy(model.state_dict())
    stack = found.apply(model)
    assert stack.patches == tuple(found.patches.values())
    assert any(not torch.equal(value, before[name]) for name, value in model.state_dict().items())
    for patch in reversed(stack.patches):
        stack.take_off(patch)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_another_model_is_refused_and_left_alone(case, found):
    other = copy.deepcopy(case[0])
    with torch.no_grad():
        other[0].weight += 1
    before = copy.deepcopy(other.state_dict())
    with pytest.raises(PatchError, match="Nothing was changed"):
        found.apply(other)
    assert all(torch.equal(value, before[name]) for name, value in other.state_dict().items())


def test_the_table_and_the_model(case, found):
    rows = found.to_table()
    assert [row["group"] for row in rows] == [0, 1, 2]
    assert rows[2]["status"] == "too few"
    assert rows[0]["reason"].startswith("Kept")
    assert rows[0]["cured"] == int(found.cures[0].verdict.cured.sum())
    assert "groups: 3" in str(found)
    assert bool((case[0](case[2][0][0]).argmax(dim=1) != case[2][0][1]).eq(case[3]).all())
