"""The demo's scenes as labelled images, and what they are called in reports."""

from __future__ import annotations

from typing import Any

import torch

from captum_paramsal import demo
from captum_paramsal.report import About
from captum_paramsal.sources import LabelledTensors

ABOUT = About(
    model="the demo model",
    weights="built in",
    images="generated scenes, split test",
    preprocessing="64 x 64 px, normalised",
    reference="generated scenes, split validation",
)
CURED = About(
    model="the demo model",
    weights="built in",
    images="700 generated scenes whose background misleads in 4 of 10",
    preprocessing="64 x 64 px, normalised",
    reference="generated scenes, split validation",
)
DAMAGED = About(
    model="a damaged copy of it", weights="noise of 5 % on all numbers, and filter block2.conv1[3] times -4"
)
_TRAINED_ON = 1024


def labelled(scenes: demo.Scenes) -> LabelledTensors:
    """Scenes with their masks, and a note on what the background says."""
    return LabelledTensors(
        scenes.images,
        scenes.labels,
        demo.normalize,
        names=[f"scene {number}" for number in range(len(scenes))],
        notes=[_cue(cue) for cue in scenes.cue_labels.tolist()],
        masks=scenes.masks,
    )


def training_scenes() -> demo.Scenes:
    """The first of the scenes that the demo's model was trained on."""
    # A scene does not depend on how many there are.
    recipe: dict[str, Any] = {**demo.SPLITS["train"], "n": _TRAINED_ON}
    return demo.make_scenes(**recipe)


def scenes_to_cure() -> demo.Scenes:
    """Scenes like those of the split test, as many as :data:`CURED` says: enough mistakes to judge a cure by."""
    recipe: dict[str, Any] = {**demo.SPLITS["test"], "n": 700, "seed": 31}
    return demo.make_scenes(**recipe)


def damaged_model() -> demo.DemoNet:
    """The demo's model as :data:`DAMAGED` says: a second checkpoint whose fault is known."""
    model, generator = demo.load_model(), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for tensor in model.state_dict().values():
            if tensor.is_floating_point():
                tensor.add_(0.05 * tensor.std() * torch.randn(tensor.shape, generator=generator))
        model.block2.conv1.weight[3] *= -4
    return model


def _cue(label: int) -> str:
    return (
        f"The background is evidence for {demo.CLASSES[label]}."
        if label >= 0
        else "The background is evidence for no class."
    )
