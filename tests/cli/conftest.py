import pytest
import torch
from cases.demo_scenes import scenes_painted_once
from sources.photo_files import save_damaged_jpeg, save_photo

__all__ = ["scenes_painted_once"]

NETWORK = """\
import torch
from cases.demo_scenes import scenes_painted_once
from torch import nn

def build():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Conv2d(6, 8, 3), nn.ReLU(),
                         nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3))
"""


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    """A working directory with a network of the user's own, its weights, and labelled photos, one of them damaged."""
    name = f"network_{abs(hash(tmp_path)) % 10**9}"
    (tmp_path / f"{name}.py").write_text(NETWORK)
    monkeypatch.chdir(tmp_path)
    scope = {}
    exec(NETWORK, scope)  # noqa: S102
    torch.save(scope["build"]().state_dict(), tmp_path / "weights.pt")
    for i in range(12):
        save_photo(tmp_path / "photos" / f"{i}.png", seed=i)
    save_damaged_jpeg(tmp_path / "photos" / "broken.jpg")
    lines = "".join(f"{i}.png,{i % 3},{['cat', 'dog', 'eel'][i % 3]}\n" for i in range(12))
    (tmp_path / "labels.csv").write_text(f"file,label,name\n{lines}broken.jpg,1,dog\ngone.png,2,eel\n")
    (tmp_path / "model").write_text(f"{name}:build")
    return tmp_path


@pytest.fixture
def arguments(workplace):
    """The usual arguments for that working directory."""
    model = (workplace / "model").read_text()
    options = ["--model", model, "--weights", "weights.pt", "--labels", "labels.csv", "--image-size", "16"]
    return [*options, "--batch-size", "5", "photos"]
