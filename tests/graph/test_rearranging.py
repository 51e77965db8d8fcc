"""Where moved values came from is found out once for each operation of a trace."""

import torch
from cases.images import image
from oracles.weights import seeded
from torch import nn

from captum_paramsal import DiscernibleNeurons
from captum_paramsal.graph.rules import rearranging


class Joined(nn.Module):
    """Two branches that are put side by side, several times."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3)
        self.pairs = nn.ModuleList(nn.ModuleList([nn.Conv2d(c, 4, 1), nn.Conv2d(c, 4, 1)]) for c in (4, *[8] * 6))
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        x = self.first(x).relu()
        for pair in self.pairs:
            x = torch.cat([conv(x).relu() for conv in pair], dim=1)
        return self.head(x.mean((2, 3)))


def test_each_operation_is_run_on_numbers_once(monkeypatch):
    nodes = []
    found = rearranging._Numbering._found

    def noted(self, *args, **kwargs):
        nodes.append(self.step.node)
        return found(self, *args, **kwargs)

    monkeypatch.setattr(rearranging._Numbering, "_found", noted)
    images = image(4, 3, 8, 8)
    DiscernibleNeurons(seeded(Joined().double(), images)).trace(images, torch.tensor([0, 1, 2, 0]))
    assert len(nodes) == len(set(nodes)) == 7
