"""A tiny network with images that it gets right and wrong; as a script, one of the processes that share a figure."""

import os
import sys
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from captum_paramsal.reproduce import ReproduceSettings, reproduce
from captum_paramsal.sources import LabelledTensors

QUICK = ReproduceSettings(
    images=None, mistakes=6, knocked=4, tuned=3, neighbors=2, shown=2, stages=2, batch_size=8, show_progress=False
)


def model():
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Conv2d(6, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3)).eval()


def images(count=48):
    return labelled(model(), torch.rand(count, 3, 12, 12, generator=torch.Generator().manual_seed(1)))


def labelled(network, pixels):
    with torch.no_grad():
        scores = network(pixels)
    predicted = scores.argmax(dim=1)
    # Two of three are right, in the reference's half and in the other one.
    wrong = torch.arange(len(pixels)) // 2 % 3 == 0
    return LabelledTensors(pixels, torch.where(wrong, (predicted + 1) % scores.shape[1], predicted))


def made(figure, folder, **settings):
    return reproduce(figure, model(), images(), folder, settings=replace(QUICK, **settings))


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo",
        init_method=f"file://{Path(sys.argv[1]) / 'meeting'}",
        rank=int(os.environ["RANK"]),
        world_size=int(os.environ["WORLD_SIZE"]),
    )
    shared = made(sys.argv[2], sys.argv[1])
    if torch.distributed.get_rank() == 0:
        shared.write(sys.argv[1])
    torch.distributed.destroy_process_group()
