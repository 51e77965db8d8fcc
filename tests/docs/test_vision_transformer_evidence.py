"""The study of the small vision transformer: its scenes, its training, and what is counted."""

import pytest
import torch
from docs.scripts import loaded
from torch import nn

NEEDED = (
    "cifar10",
    "photos",
    "results",
    "object_pointing",
    "corruptions",
    "domain_features",
    "depth_bias",
    "pot_saliency_cases",
    "pot_saliency_tables",
    "pot_saliency",
    "small_transformer",
    "vision_transformer",
)


@pytest.fixture(scope="module")
def scripts():
    with loaded(*NEEDED) as found:
        yield found


def test_an_object_at_half_its_size_in_every_corner_and_a_plain_rest(scripts):
    sources = torch.rand(4, 3, 32, 32)
    scenes, boxes = scripts["vision_transformer"].planted_scenes(sources)
    assert boxes.tolist() == [[0, 0, 16, 16], [16, 0, 32, 16], [0, 16, 16, 32], [16, 16, 32, 32]]
    for scene, source, (left, top, right, bottom) in zip(scenes, sources, boxes.int().tolist(), strict=True):
        halved = source.reshape(3, 16, 2, 16, 2).mean(dim=(2, 4))
        torch.testing.assert_close(scene[:, top:bottom, left:right], halved)
        rest = torch.ones(32, 32, dtype=torch.bool)
        rest[top:bottom, left:right] = False
        torch.testing.assert_close(scene[:, rest], source.mean(dim=(1, 2))[:, None].expand(3, int(rest.sum())))


def test_mass_on_the_object(scripts):
    maps = torch.zeros(3, 32, 32)
    maps[0, 3, 4], maps[1, 3, 4], maps[1, 20, 20] = 1.0, 1.0, 3.0
    boxes = torch.tensor([[0.0, 0.0, 16.0, 16.0]]).expand(3, 4)
    assert scripts["vision_transformer"].mass_inside(maps, boxes).tolist() == [1.0, 0.25, 0.0]


def test_what_classes_lose_without_channels(scripts):
    study = scripts["vision_transformer"]
    model = nn.Sequential(nn.Identity(), nn.Linear(2, 2, bias=False)).eval()
    with torch.no_grad():
        model[1].weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
    images, labels = torch.tensor([[2.0, 1.0], [3.0, 1.0], [1.0, 2.0], [5.0, 1.0]]), torch.tensor([0, 0, 1, 1])
    judged = study.Pictures(images, labels, torch.tensor([0, 0, 1, 0]))
    own, rest = study.losses_without(model, "0", torch.tensor([[0], [1]]), judged)
    assert own.tolist() == [1.0, 1.0]
    assert rest.tolist() == [0.0, 0.0]


def test_every_image_once_an_epoch_and_the_weights_after_it(scripts, tmp_path):
    small = scripts["small_transformer"]
    torch.manual_seed(0)
    model, file = small.small_transformer(), tmp_path / "weights.safetensors"
    before = model.heads[0].weight.clone()
    small.train(model, torch.randn(8, 3, 32, 32), torch.arange(8), small.Schedule(epochs=1, batch=4), file)
    assert not torch.equal(before, model.heads[0].weight)
    again = small.trained(file, tmp_path, small.Schedule())
    assert not again.training
    assert torch.equal(again.heads[0].weight, model.heads[0].weight)


def test_crops_lie_within_the_border(scripts):
    images = torch.arange(32.0).expand(4, 3, 32, 32) + 1
    batches = list(scripts["small_transformer"]._batches(images, torch.arange(4), 4, torch.Generator().manual_seed(0)))
    ((crops, labels),) = batches
    assert sorted(labels.tolist()) == [0, 1, 2, 3]
    for crop in crops:
        steps = crop[0, 5].diff()
        assert set(steps.abs().tolist()) <= {0.0, 1.0, 32.0, 31.0, 30.0, 29.0}
        assert int((steps.abs() == 1).sum()) >= 27
