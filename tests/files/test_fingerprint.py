import torch
from torch import nn

from captum_paramsal.files import Fingerprint


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3))


def test_the_same_weights_have_the_same_fingerprint():
    first, second = Fingerprint.of(net()), Fingerprint.of(net())
    assert first == second
    assert first.short == second.short
    assert first.difference(second) == ""


def test_one_changed_number_is_named():
    model = net()
    before = Fingerprint.of(model)
    with torch.no_grad():
        model[0].weight[1, 0, 2, 2] += 1e-6
    assert before.difference(Fingerprint.of(model)) == "1 of 6 tensors differ ('0.weight')"


def test_running_statistics_count_and_batch_counters_do_not():
    model = net()
    before = Fingerprint.of(model)
    model[1].num_batches_tracked += 5
    assert Fingerprint.of(model) == before
    model[1].running_var[0] = 2.0
    assert "'1.running_var'" in before.difference(Fingerprint.of(model))


def test_type_and_layout():
    model = net()
    before = Fingerprint.of(model)
    assert Fingerprint.of(model.to(memory_format=torch.channels_last)) == before
    assert "tensors differ" in before.difference(Fingerprint.of(model.bfloat16()))


def test_other_tensors_are_named():
    found = Fingerprint.of(net()).difference(Fingerprint.of(nn.Sequential(nn.Conv2d(2, 3, 3, bias=False))))
    assert "are missing ('0.bias', '1.bias', '1.running_mean', ...)" in found
    assert (
        Fingerprint.of(nn.Identity()).difference(Fingerprint.of(nn.Linear(1, 1)))
        == "2 tensors are new ('bias', 'weight')"
    )
