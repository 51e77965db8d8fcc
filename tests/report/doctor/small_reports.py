"""A network that tells colours, scenes with a coloured object on the left and at times another colour on the right."""

import torch
from torch import nn

from captum_paramsal.report import About, DoctorSettings, doctor
from captum_paramsal.sources import LabelledTensors

COLOURS = {0: "red", 1: "green", 2: "<b>blue</b>"}
QUICK = DoctorSettings(confidence=0.5, top_k=3, batch_size=16, noise_samples=2, noise_range=0.01, show_progress=False)
OBJECT = (slice(2, 9), slice(1, 6))
CUE = (slice(3, 8), slice(7, 11))


def colour_net() -> nn.Module:
    """Channels 0 to 2 of its layer "0" see one colour each, 3 to 5 a little of everything."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 6, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 3))
    with torch.no_grad():
        net[0].weight.mul_(0.1)
        net[0].weight[:3, :, 0, 0] += torch.eye(3)
        net[0].bias.fill_(-0.15)
        net[4].weight.mul_(0.1)
        net[4].weight[:, :3] += 30 * torch.eye(3)
        net[4].bias.zero_()
    return net


def scenes(count: int = 120, seed: int = 1, *, masked: bool = True, misled_every: int = 6) -> LabelledTensors:
    """Each object has the colour of its class; every so often there is more of another colour on the right."""
    random = torch.Generator().manual_seed(seed)
    images = 0.1 * torch.rand(count, 3, 12, 12, generator=random)
    labels = torch.arange(count) % 3
    strength = 0.5 + 0.3 * torch.rand(count, generator=random)
    for i, label in enumerate(labels.tolist()):
        images[i, label][OBJECT] += strength[i]
        images[i, (label + 1) % 3][CUE] += 2.0 if i % misled_every == 0 else 0.1
    masks = torch.zeros(count, 12, 12, dtype=torch.bool)
    masks[:, OBJECT[0], OBJECT[1]] = True
    names = [f"photo {i}.png" for i in range(count)]
    notes = ["in <the> dark" if i == 0 else "" for i in range(count)]
    return LabelledTensors(images, labels, names=names, notes=notes, masks=masks if masked else None)


def colour_checkup(images=None, **options):
    about = About(model="colour & net", weights="by hand", images="blots")
    settings = {"settings": QUICK, "classes": COLOURS, "about": about}
    return doctor(colour_net(), images or scenes(), **{**settings, **options})
