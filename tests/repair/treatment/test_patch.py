import copy

import pytest
import torch
from repair.small_models import Small
from torch import nn

from captum_paramsal.errors import PatchError
from captum_paramsal.repair import Patch


class EveryKind(nn.Module):
    """Tensors of every kind that a model may hold, two of them shared."""

    def __init__(self):
        super().__init__()
        self.small = nn.Parameter(torch.randn(3, 2).half())
        self.brain = nn.Parameter(torch.randn(4).bfloat16())
        self.wide = nn.Parameter(torch.randn(2, 2, 2).double())
        self.strided = nn.Parameter(torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last))
        self.wave = nn.Parameter(torch.randn(3, dtype=torch.complex64))
        self.first = nn.Linear(2, 2)
        self.second = nn.Linear(2, 2)
        self.second.weight = self.first.weight
        self.norm = nn.BatchNorm2d(2)
        self.register_buffer("flags", torch.tensor([True, False, True]))
        self.register_buffer("numbers", torch.arange(5))
        self.register_buffer("scalar", torch.tensor(1.0))
        self.register_buffer("hidden", torch.ones(2), persistent=False)
        self.register_buffer("empty", torch.ones(0))


def contents(model):
    named = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    return {
        name: bytes(value.detach().contiguous().reshape(-1).view(torch.uint8).tolist()) if value.numel() else b""
        for name, value in named.items()
    }


@pytest.fixture
def pair():
    torch.manual_seed(0)
    original = EveryKind()
    treated = copy.deepcopy(original)
    with torch.no_grad():
        for parameter in treated.parameters():
            parameter.add_(0.37)
        treated.wide[0] = torch.nan
        treated.flags[1] = True
        treated.numbers[2] = -(2**62)
        treated.scalar.fill_(-0.0)
        treated.hidden[0] = torch.inf
    treated.norm(torch.randn(4, 2, 3, 3))
    return original, treated


def test_every_kind_of_tensor_comes_back_bit_for_bit(pair, tmp_path):
    original, treated = pair
    before, after = contents(original), contents(treated)
    patch = Patch.between(original, treated)
    patch.save(tmp_path / "patch.safetensors")
    loaded = Patch.load(tmp_path / "patch.safetensors")
    assert (loaded.base, loaded.treated) == (patch.base, patch.treated)
    assert repr(loaded.changes) == repr(patch.changes)  # NaN
    assert [*tmp_path.iterdir()] == [tmp_path / "patch.safetensors"]
    for one in (patch, loaded):
        tensors = {**dict(original.named_parameters()), **dict(original.named_buffers())}
        one.apply(original)
        assert contents(original) == after
        assert all(tensors[name] is value for name, value in original.named_parameters())
        one.revert(original)
        assert contents(original) == before
    assert original.second.weight is original.first.weight


def test_only_what_changed_is_held(tmp_path):
    original, treated = Small(), Small()
    with torch.no_grad():
        for model in (original, treated):
            model.classifier.weight[0, 1] = 0.5
        treated.classifier.weight[0, 1] += 2
        treated.classifier.weight[2, 3] -= 0.5
    patch = Patch.between(original, treated)
    assert [*patch.bits] == ["classifier.weight"]
    assert patch.to_table() == [
        {"tensor": "classifier.weight", "shape": (3, 5), "dtype": "float32", "changed": 2, "largest change": 2.0}
    ]
    patch.save(tmp_path / "patch")
    assert Patch.load(tmp_path / "patch").to_table() == patch.to_table()


def test_weights_that_lie_in_the_same_memory_are_changed_once():
    original = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    original[1].weight.data = original[0].weight.data
    treated = copy.deepcopy(original)
    with torch.no_grad():
        treated[0].weight += 1
        treated[1].weight.copy_(treated[0].weight)
    Patch.between(original, treated).apply(original)
    assert torch.equal(original[0].weight, treated[0].weight)


def test_the_wrong_base_is_refused_and_stays(pair):
    original, treated = pair
    patch = Patch.between(original, treated)
    nearly = copy.deepcopy(treated)
    nearly.first.bias.data += 1
    for other, put_on, said in [
        (original, patch.revert, "a model with the patch, got the one that it was made for"),
        (treated, patch.apply, "got one that has it already"),
        (Small(), patch.apply, "are missing"),
        (nearly, patch.revert, r"1 of \d+ tensors differ \('first.bias'\). Nothing was changed"),
    ]:
        before = contents(other)
        with pytest.raises(PatchError, match=said):
            put_on(other)
        assert contents(other) == before


def test_a_counter_of_batches_that_went_on_is_no_base(pair):
    original, treated = pair
    patch = Patch.between(original, treated)
    original.norm.num_batches_tracked += 1
    before = contents(original)
    with pytest.raises(PatchError, match=r"norm\.num_batches_tracked"):
        patch.apply(original)
    assert contents(original) == before


def test_a_patch_of_nothing_can_be_put_on_again_and_again(tmp_path):
    model = Small()
    Patch.between(model, copy.deepcopy(model)).save(tmp_path / "patch")
    patch = Patch.load(tmp_path / "patch")
    before = contents(model)
    for put_on in (patch.apply, patch.apply, patch.revert):
        put_on(model)
    assert contents(model) == before
    assert patch.to_table() == []


def test_wrapped_models():
    original, treated = Small(), Small(seed=1)
    Patch.between(nn.DataParallel(original), treated).apply(nn.DataParallel(original))
    assert contents(original) == contents(treated)


@pytest.mark.parametrize(
    ("treated", "said"),
    [
        (nn.Linear(2, 3), r"'weight' is torch.float32 \(2, 2\) in the original, torch.float32 \(3, 2\)"),
        (nn.Linear(2, 2, bias=False), r"'bias' is torch.float32 \(2,\) in the original, missing"),
        (nn.Linear(2, 2).double(), r"2 differ: .*torch.float64 \(2, 2\)"),
    ],
)
def test_models_with_other_tensors(treated, said):
    with pytest.raises(PatchError, match=said):
        Patch.between(nn.Linear(2, 2), treated)


def test_files_that_are_none(tmp_path):
    path = tmp_path / "patch"
    Patch.between(Small(), Small(seed=1)).save(path)
    whole = path.read_bytes()
    for content in (
        b"",
        whole[:-1],
        whole[:-1] + bytes([whole[-1] ^ 1]),
        whole.replace(b"treated", b"trea\\u0074ed", 1),
    ):
        path.write_bytes(content)
        with pytest.raises(PatchError, match="patch"):
            Patch.load(path)
    with pytest.raises(PatchError, match="cannot be read"):
        Patch.load(tmp_path / "nowhere")
    with pytest.raises(PatchError, match="cannot be written"):
        Patch.between(Small(), Small(seed=1)).save(tmp_path / "nowhere" / "patch")
