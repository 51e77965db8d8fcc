"""The average over a map is one function, however it is written: its trace is one too."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from captum_paramsal import CNNFixations, DiscernibleNeurons, TraceWeights

AVERAGES = {
    "one mean": lambda z: z.mean((2, 3)),
    "columns, then rows": lambda z: z.mean(3).mean(2),
    "rows, then columns": lambda z: z.mean(2).mean(2),
    "from behind": lambda z: z.mean(-1).mean(-1),
    "dimensions kept": lambda z: z.mean(3, keepdim=True).mean(2, keepdim=True).flatten(1),
    "flattened": lambda z: z.flatten(2).mean(-1),
    "channels last": lambda z: z.permute(0, 2, 3, 1).mean((1, 2)),
    "sum over size": lambda z: z.sum((2, 3)) / (z.shape[2] * z.shape[3]),
    "sums in steps": lambda z: z.sum(3).sum(2) / 144,
    "scaled sums in steps": lambda z: (z.sum(3) / 12).sum(2) / 12,
    "sum times a share": lambda z: z.sum((2, 3)) * (1 / 144),
    "a pool": lambda z: functional.adaptive_avg_pool2d(z, 1).flatten(1),
    "pools of one side": lambda z: functional.adaptive_avg_pool2d(
        functional.adaptive_avg_pool2d(z, (1, None)), (None, 1)
    ).flatten(1),
    "a pool, then a mean": lambda z: functional.avg_pool2d(z, 4).mean((2, 3)),
    "an adaptive pool, then a mean": lambda z: functional.adaptive_avg_pool2d(z, 3).flatten(2).mean(2),
    "windows": lambda z: z.unflatten(3, (3, 4)).unflatten(2, (2, 6)).mean((3, 5)).mean((2, 3)),
    "a pool that divides by 1": lambda z: functional.avg_pool2d(z, 12, divisor_override=1).flatten(1) / 144,
    "in eval, dropout between": lambda z: functional.dropout(z.mean(3), training=False).contiguous().mean(2),
}
METHODS = {
    "neurons": DiscernibleNeurons,
    "neurons by what supports them": lambda model: DiscernibleNeurons(model, TraceWeights(0.3, 0.9), top_k=2, places=7),
    "fixations": CNNFixations,
}


class Averaged(nn.Module):
    def __init__(self, average):
        super().__init__()
        torch.manual_seed(0)
        self.features = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1), nn.ReLU()
        )
        self.head, self.average = nn.Linear(8, 3), average

    def forward(self, x):
        return self.head(self.average(self.features(x)))


@pytest.mark.parametrize("method", METHODS)
def test_one_function_has_one_trace(method):
    x = torch.randn(3, 3, 12, 12, generator=torch.Generator().manual_seed(1)).double()
    trace = {name: METHODS[method](Averaged(average).double().eval()).trace(x) for name, average in AVERAGES.items()}
    expected = trace.pop("one mean")
    assert len(expected.pixels) > 3
    for name, other in trace.items():
        torch.testing.assert_close(other.heatmap(), expected.heatmap(), msg=lambda text, name=name: f"{name}: {text}")
        for ours, theirs in zip(other.layers.values(), expected.layers.values(), strict=True):
            torch.testing.assert_close(ours.score, theirs.score)


def test_windows_that_overlap_are_no_average_over_the_map():
    x = torch.randn(2, 3, 12, 12, generator=torch.Generator().manual_seed(1)).double()
    model = Averaged(lambda z: functional.avg_pool2d(z, 4, stride=2).mean((2, 3))).double().eval()
    whole = Averaged(AVERAGES["one mean"]).double().eval()
    layers, others = (DiscernibleNeurons(one).trace(x).layers for one in (model, whole))
    assert len(layers["features.2"]) < len(others["features.2"])
