"""The demo's scenes as labelled images, and what they are called in reports."""

from __future__ import annotations

from typing import Any

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


def _cue(label: int) -> str:
    return (
        f"The background is evidence for {demo.CLASSES[label]}."
        if label >= 0
        else "The background is evidence for no class."
    )
