"""Draw the picture of the README from the embedded demo: ``python docs/pictures.py``."""

from pathlib import Path

import torch

from captum_paramsal import ParameterSaliency, Reference
from captum_paramsal.demo import load_model, load_scenes, normalize
from captum_paramsal.viz import new_axes, profile_plot, to_png


def main() -> None:
    """Write ``_static/profiles.png``."""
    model, usual, scenes = load_model(), load_scenes("validation"), load_scenes("test")
    images, labels = normalize(scenes.images), scenes.labels
    with torch.no_grad():
        wrong = model(images).argmax(dim=1) != labels
    reference = Reference.fit(model, [(normalize(usual.images), usual.labels)], show_progress=False)
    saliency = ParameterSaliency(model, reference)
    scores = saliency.attribute(images, target=labels)
    axes = profile_plot(
        torch.stack([scores[wrong].mean(dim=0), scores[~wrong].mean(dim=0)]),
        saliency.filters,
        new_axes(9, 3.2),
        labels=[f"mean of the {int(wrong.sum())} mistakes", f"mean of the {int((~wrong).sum())} correct scenes"],
        title="Saliency profiles of the demo",
    )
    Path(__file__).with_name("_static").joinpath("profiles.png").write_bytes(to_png(axes, dpi=110))


if __name__ == "__main__":
    main()
