import argparse
import builtins
import fractions
import sys
import warnings
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn
from torch.optim.swa_utils import AveragedModel

from captum_paramsal.errors import SourceError
from captum_paramsal.sources import bounds, class_names_of, load_model, save_weights
from captum_paramsal.sources.weights import load_strictly, read_state_dict


def _tiny() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 2))


@pytest.fixture
def own_module(tmp_path, monkeypatch):
    """A module of the user's in the working directory."""
    (tmp_path / "own_networks.py").write_text(
        "from torch import nn\n"
        "def build():\n"
        "    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 2))\n"
        "ready = build()\n"
        "def broken():\n"
        "    raise KeyError('no such config')\n"
        "def number():\n"
        "    return 7\n"
    )
    monkeypatch.chdir(tmp_path)
    yield "own_networks"
    sys.modules.pop("own_networks", None)


def _same(model, state):
    return all(torch.equal(value, state[name]) for name, value in model.state_dict().items() if name in state)


def test_torchvision_name_gives_a_model_in_evaluation_mode():
    model = load_model("squeezenet1_1")
    assert type(model).__name__ == "SqueezeNet"
    assert not model.training


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_models_with_extra_heads_are_built_quietly(name):
    assert not load_model(name).training


def test_callable_of_a_module_in_the_working_directory(own_module):
    before = list(sys.path)
    assert isinstance(load_model(f"{own_module}:build"), nn.Sequential)
    assert load_model(f"{own_module}:ready") is sys.modules[own_module].ready
    assert sys.path == before


@pytest.mark.parametrize("wrap", [lambda s: s, lambda s: {"state_dict": s, "epoch": 3}, lambda s: {"model": s}])
@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "model."])
def test_state_dict_files(own_module, tmp_path, wrap, prefix):
    state = _tiny().state_dict()
    torch.save(wrap({prefix + name: value for name, value in state.items()}), tmp_path / "w.pt")
    assert _same(load_model(f"{own_module}:build", tmp_path / "w.pt"), state)


@pytest.mark.parametrize("key", ["model_state", "model_ema", "state_dict"])
@pytest.mark.parametrize(
    "beside",
    [
        argparse.Namespace(lr=0.1, name="run"),
        np.float64(0.5),
        np.float32(0.5),
        np.int64(3),
        np.bool_(True),
        OrderedDict(a=1),
    ],
    ids=lambda value: type(value).__name__,
)
def test_plain_values_beside_the_weights(own_module, tmp_path, key, beside):
    state = {f"net.{name}": value for name, value in _tiny().state_dict().items()}
    torch.save({key: state, "beside": beside}, tmp_path / "checkpoint.pt")
    assert _same(load_model(f"{own_module}:build", tmp_path / "checkpoint.pt"), _tiny().state_dict())


def test_tensors_of_a_loss_in_a_checkpoint(own_module, tmp_path):
    state = {f"model.{name}": value for name, value in _tiny().state_dict().items()}
    torch.save({"state_dict": {**state, "criterion.weight": torch.ones(2)}}, tmp_path / "lightning.ckpt")
    with pytest.warns(UserWarning, match=r"Left out 1 tensors .* not behind 'model\.', .*: criterion\.weight"):
        model = load_model(f"{own_module}:build", tmp_path / "lightning.ckpt")
    assert _same(model, _tiny().state_dict())


def test_the_object_that_keeps_a_file_from_loading_is_named(own_module, tmp_path):
    torch.save({"state_dict": _tiny().state_dict(), "when": fractions.Fraction(1, 2)}, tmp_path / "checkpoint.pt")
    with pytest.raises(SourceError, match=r"one that holds code \(fractions\.Fraction\), which is never run"):
        load_model(f"{own_module}:build", tmp_path / "checkpoint.pt")


def test_safetensors_file_without_batch_counters(own_module, tmp_path):
    state = {name: value for name, value in _tiny().state_dict().items() if "num_batches" not in name}
    save_file(state, tmp_path / "w.safetensors")
    assert _same(load_model(f"{own_module}:build", tmp_path / "w.safetensors"), state)


def test_head_takes_the_size_that_the_weights_have(tmp_path):
    torch.save(torchvision.models.squeezenet1_1(num_classes=7).state_dict(), tmp_path / "seven.pt")
    model = load_model("squeezenet1_1", tmp_path / "seven.pt")
    assert model(torch.zeros(1, 3, 64, 64)).shape == (1, 7)
    assert class_names_of("squeezenet1_1", model) is None


def test_names_of_imagenet_classes():
    classes = class_names_of("squeezenet1_1", load_model("squeezenet1_1"))
    assert (len(classes), classes[0], classes[1]) == (1000, "tench", "goldfish")
    assert class_names_of("some.module:build", nn.Linear(2, 2)) is None


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet5O", "got 'resnet5O'. Nearest: resnet50"),
        ("zzzz", "got 'zzzz'. Nearest: none comes near"),
        ("no_such_module:build", "import 'no_such_module'.*ModuleNotFoundError"),
        ("own_networks:nothing", "'own_networks' to have 'nothing'"),
        ("own_networks:broken", "KeyError: 'no such config'"),
        ("own_networks:number", "torch.nn.Module, got a int"),
    ],
)
@pytest.mark.usefixtures("own_module")
def test_unknown_models(name, message):
    with pytest.raises(SourceError, match=message):
        load_model(name)


def test_unknown_weights_name():
    with pytest.raises(SourceError, match=r"one of DEFAULT, IMAGENET1K_V1.*got 'IMAGENET22K'"):
        load_model("squeezenet1_1", "IMAGENET22K")


def test_weights_that_cannot_be_fetched(monkeypatch):
    def refuse(*_args, **_options):
        message = "no route to host"
        raise OSError(message)

    monkeypatch.setattr(torchvision.models._api, "load_state_dict_from_url", refuse)
    with pytest.raises(SourceError, match=r"no route to host.*--weights FILE"):
        load_model("squeezenet1_1", "DEFAULT")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("0.weight"), r"1 missing \(0.weight\)"),
        (lambda s: s.update(extra=torch.ones(1)), r"1 not in the model \(extra\)"),
        (
            lambda s: s.update({"3.weight": torch.ones(2, 9)}),
            r"1 of another shape \(3.weight \(2, 9\) where the model has \(2, 16\)\)",
        ),
        (lambda s: [s.pop(name) for name in list(s)[:5]], r"5 missing \(0.weight, 0.bias, 1.weight, ...\)"),
    ],
)
def test_weights_that_do_not_fit(own_module, tmp_path, change, message):
    state = _tiny().state_dict()
    change(state)
    torch.save(state, tmp_path / "w.pt")
    with pytest.raises(SourceError, match=message):
        load_model(f"{own_module}:build", tmp_path / "w.pt")


def test_weights_of_another_architecture(tmp_path):
    torch.save(_tiny().state_dict(), tmp_path / "w.pt")
    with pytest.raises(SourceError, match=r"SqueezeNet.*52 missing"):
        load_model("squeezenet1_1", tmp_path / "w.pt")


class _Code:
    def __reduce__(self):
        return (print, ("code was run",))


def _write_torchscript(path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.trace(nn.Conv2d(3, 2, 1), torch.zeros(1, 3, 4, 4)), path)


@pytest.mark.parametrize(
    ("name", "write", "message"),
    [
        ("w.pt", lambda p: p.write_bytes(b"nonsense"), "holds code"),
        ("w.pt", lambda p: p.write_bytes(b""), r"state-dict file at '.*w.pt', got EOFError"),
        ("w.pt", lambda p: torch.save([_Code()], p), "holds code"),
        ("w.pt", lambda p: torch.save({"epoch": 3}, p), "a mapping with the keys 'epoch'"),
        ("w.pt", lambda p: torch.save([1, 2], p), "got a list"),
        ("w.pt", _write_torchscript, "got a TorchScript archive, whose code is never run"),
        ("w.safetensors", lambda p: p.write_bytes(b"nonsense"), "damaged or foreign"),
        ("w.safetensors", lambda p: p.mkdir(), "got a folder"),
        ("w.pt", lambda _: None, "got nothing"),
    ],
)
@pytest.mark.usefixtures("own_module")
def test_files_without_weights(tmp_path, capsys, name, write, message):
    write(tmp_path / name)
    with pytest.raises(SourceError, match=message):
        load_model("own_networks:build", tmp_path / name)
    assert "code was run" not in capsys.readouterr().out


def test_a_torchvision_made_for_another_torch(monkeypatch):
    original = builtins.__import__

    def fail(name, *args, **options):
        if name.startswith("torchvision"):
            message = "operator torchvision::nms does not exist"
            raise RuntimeError(message)
        return original(name, *args, **options)

    monkeypatch.setattr(builtins, "__import__", fail)
    with pytest.raises(SourceError, match="fits the installed torch, got RuntimeError: operator torchvision::nms"):
        load_model("resnet18")


def test_saved_weights_load_again(tmp_path):
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 4))
    save_weights(model, tmp_path / "w.safetensors")
    (written,) = tmp_path.iterdir()
    other = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 4))
    load_strictly(other, read_state_dict(written, other), "there")
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in other.state_dict().items())


def test_tied_weights_are_saved_under_both_names(tmp_path):
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    model[1].weight = model[0].weight
    save_weights(model, tmp_path / "w.safetensors")
    assert set(read_state_dict(tmp_path / "w.safetensors", model)) == set(model.state_dict())


def test_a_name_that_would_be_read_as_another_kind_is_refused(tmp_path):
    with pytest.raises(SourceError, match=r"a name that ends in \.safetensors, got '.*w\.pt'"):
        save_weights(nn.Linear(2, 2), tmp_path / "w.pt")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("wrap", [nn.DataParallel, torch.compile, AveragedModel])
def test_wrapped_models_are_saved_by_the_names_of_what_they_wrap(tmp_path, wrap):
    model = nn.Linear(2, 2)
    save_weights(wrap(model), tmp_path / "w.safetensors")
    save_weights(model, tmp_path / "plain.safetensors")
    assert (tmp_path / "w.safetensors").read_bytes() == (tmp_path / "plain.safetensors").read_bytes()


def test_weights_that_cannot_be_written(tmp_path):
    with pytest.raises(SourceError, match=r"write the weights to, but '.*nowhere/w.safetensors'"):
        save_weights(nn.Linear(2, 2), tmp_path / "nowhere" / "w.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_weights_that_were_written_here_are_whole_or_refused(tmp_path):
    model, path = nn.Linear(2, 2), tmp_path / "w.safetensors"
    save_weights(model, path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(SourceError, match=r"a whole weights file, but .* does not match its checksum"):
        read_state_dict(path, model)
    path.write_bytes(whole)
    assert read_state_dict(path, model).keys() == model.state_dict().keys()


def _bomb(path, compression, described, **entries):
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("archive/data.pkl", described)
        for name, content in entries.items():
            archive.writestr(f"archive/data/{name}", content)
        archive.writestr("archive/version", "3")


@pytest.mark.parametrize("kind", ["contents", "data", "older format"])
def test_a_file_that_unpacks_to_far_more_than_the_model_is_refused_unread(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(bounds, "_PICKLE", 1 << 12)
    path, lists = tmp_path / "bomb.pth", b"\x80\x02" + b"]" * 40_000
    if kind == "contents":
        _bomb(path, zipfile.ZIP_STORED, lists)
    elif kind == "data":
        _bomb(path, zipfile.ZIP_DEFLATED, b"\x80\x02].", a=bytes(70_000_000))
        assert path.stat().st_size < 100_000
    else:
        path.write_bytes(lists)
    with pytest.raises(SourceError, match=r"Expected a weights file that unpacks to at most .*Save the weights alone"):
        read_state_dict(path, nn.Linear(2, 2))


@pytest.mark.parametrize("new", [True, False])
def test_checkpoints_within_the_bounds_are_read_in_both_formats(tmp_path, new):
    model = nn.Linear(2, 2)
    content = {"model": model.state_dict(), "optimizer": nn.Linear(500, 500).state_dict(), "epoch": 3}
    torch.save(content, tmp_path / "w.pt", _use_new_zipfile_serialization=new)
    assert read_state_dict(tmp_path / "w.pt", model).keys() == {"weight", "bias"}


@pytest.mark.parametrize(
    "prefix", ["model.", "net.", "network.", "model.module.", "_orig_mod.module.", "model._orig_mod.module.", "a.b."]
)
def test_whatever_stands_before_all_of_the_names_is_taken_off(tmp_path, prefix):
    model = nn.Linear(2, 2)
    state = {prefix + name: value for name, value in model.state_dict().items()}
    torch.save({"state_dict": state, "hyper_parameters": {"path": Path("x"), "rates": np.zeros(2)}}, tmp_path / "w.pt")
    assert read_state_dict(tmp_path / "w.pt", model).keys() == {"weight", "bias"}
    torch.save(state | {"criterion.scale": torch.ones(1)}, tmp_path / "w.pt")
    with pytest.warns(UserWarning, match=r"Left out 1 tensors .*criterion.scale"):
        assert read_state_dict(tmp_path / "w.pt", model).keys() == {"weight", "bias"}


def test_of_two_models_in_one_file_the_choice_is_said_or_refused(tmp_path):
    model = nn.Linear(2, 2)
    state = model.state_dict()
    both = {prefix + name: value for prefix in ("student.", "teacher.") for name, value in state.items()}
    torch.save(both, tmp_path / "w.pt")
    with pytest.raises(SourceError, match=r"those of 2, behind 'student.', 'teacher.'"):
        read_state_dict(tmp_path / "w.pt", model)
    torch.save({"model": {"state_dict": state}, "ema": state}, tmp_path / "w.pt")
    with pytest.warns(UserWarning, match="Took 'model' of the weights file, which has 'ema' as well"):
        assert read_state_dict(tmp_path / "w.pt", model).keys() == state.keys()


def test_a_path_that_is_too_long_is_no_file(tmp_path):
    with pytest.raises(SourceError, match=r"weights file at .*, got nothing"):
        read_state_dict(tmp_path / ("x" * 300), nn.Linear(2, 2))
