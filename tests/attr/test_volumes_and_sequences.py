"""Traces of videos, volumes and sequences: as those of images, in one or three dimensions."""

import pytest
import torch
from torch import nn

from captum_paramsal import CNNFixations, DiscernibleNeurons, InputError, Trace
from captum_paramsal.functional import fixations
from captum_paramsal.functional.fixations import heat_map


def network(dimensions):
    convolution = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[dimensions - 1]
    pool = (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d)[dimensions - 1]
    mean = (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d)[dimensions - 1]
    torch.manual_seed(3)
    layers = [convolution(2, 5, 3, padding=1), nn.ReLU(), pool(2), convolution(5, 4, 3), nn.ReLU(), mean(1)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(4, 3)).eval()


@pytest.mark.parametrize("method", [CNNFixations, DiscernibleNeurons])
@pytest.mark.parametrize(("dimensions", "size"), [(1, (24,)), (3, (6, 8, 10))])
def test_every_point_is_inside_and_the_map_is_of_the_inputs_shape(method, dimensions, size):
    inputs = torch.rand(3, 2, *size, generator=torch.Generator().manual_seed(1))
    traced = method(network(dimensions))
    trace = traced.trace(inputs)
    assert trace.shape == inputs.shape
    assert trace.heatmap().shape == (3, *size)
    assert traced.attribute(inputs).shape == inputs.shape
    assert trace.boxes().shape == (3, 2 * dimensions)
    assert len(trace.pixels)
    for image, box in enumerate(trace.boxes()):
        points = trace.points(image)
        if not len(points):
            assert box.isnan().all()
            continue
        assert points.shape[1] == dimensions
        assert ((points >= 0) & (points < torch.tensor(size))).all()
        assert box.tolist() == [*points.amin(0).flip(0).tolist(), *(points.amax(0) + 1).flip(0).tolist()]


@pytest.mark.parametrize("method", [CNNFixations, DiscernibleNeurons])
def test_a_sequence_is_an_image_of_one_row(method):
    model = network(1)
    layers = [
        nn.Conv2d(2, 5, (1, 3), padding=(0, 1)), nn.ReLU(), nn.MaxPool2d((1, 2)), nn.Conv2d(5, 4, (1, 3)), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3),
    ]  # fmt: skip
    twin = nn.Sequential(*layers).eval()
    twin.load_state_dict(
        {name: value[:, :, None] if value.ndim == 3 else value for name, value in model.state_dict().items()}
    )
    inputs = torch.rand(4, 2, 24, generator=torch.Generator().manual_seed(2))
    trace, image = method(model).trace(inputs), method(twin).trace(inputs[:, :, None])
    assert torch.equal(trace.pixels.place[:, 0], image.pixels.x)
    assert torch.equal(trace.pixels.score, image.pixels.score)
    assert trace.layers["3"].y.tolist() == image.layers["3"].x.tolist()
    assert not trace.pixels.x.any()


@pytest.mark.parametrize("method", [CNNFixations, DiscernibleNeurons])
def test_a_video_of_one_frame_is_an_image(method):
    model = network(2)
    layers = [
        nn.Conv3d(2, 5, (1, 3, 3), padding=(0, 1, 1)), nn.ReLU(), nn.MaxPool3d((1, 2, 2)), nn.Conv3d(5, 4, (1, 3, 3)),
        nn.ReLU(), nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(4, 3),
    ]  # fmt: skip
    twin = nn.Sequential(*layers).eval()
    twin.load_state_dict(
        {name: value[:, :, None] if value.ndim == 4 else value for name, value in model.state_dict().items()}
    )
    inputs = torch.rand(4, 2, 12, 12, generator=torch.Generator().manual_seed(2))
    trace, video = method(model).trace(inputs), method(twin).trace(inputs[:, :, None])
    assert torch.equal(video.pixels.place[:, 1:], trace.pixels.place)
    assert torch.equal(video.pixels.score, trace.pixels.score)
    assert torch.equal(video.pixels.y, trace.pixels.y)
    torch.testing.assert_close(video.heatmap()[:, 0], trace.heatmap())


def test_saved_and_loaded(tmp_path):
    trace = CNNFixations(network(3)).trace(torch.rand(2, 2, 6, 8, 10))
    trace.save(tmp_path / "video.safetensors")
    loaded = Trace.load(tmp_path / "video.safetensors")
    assert loaded.shape == trace.shape
    assert torch.equal(loaded.pixels.place, trace.pixels.place)


def test_a_long_sequence_is_blurred_in_parts(monkeypatch):
    votes = torch.zeros(2, 300)
    votes[0, [10, 200]] = 1
    whole = heat_map(votes, 5.0)
    monkeypatch.setattr(fixations, "_PART", 128)
    heat = heat_map(votes, (5.0,))
    torch.testing.assert_close(heat, whole)
    assert heat[0, 10] == heat[0, 200] == 1
    assert not heat[1].any()
    torch.testing.assert_close(heat[0, 205], torch.tensor(0.6065), atol=1e-4, rtol=0)


def test_weights_are_learned_on_boxes_in_images():
    with pytest.raises(InputError, match=r"images \(N, C, H, W\), in which boxes are known"):
        DiscernibleNeurons(network(1)).fit_weights(torch.rand(2, 2, 24), 0, torch.zeros(2, 4), show_progress=False)
