"""Draw the README's second picture, from a mistake to its cure: all of it on the built-in demo.

``python docs/story_picture.py`` takes a minute or two. The scene is the first mistake of the split "test" that
the cure rights and that has, among its three guiltiest filters, one that is named after the class that the model says.
The pixels are those in which the trace of that class ends where it goes through that filter.
The cure is that of the evidence on ordinary mistakes of the demo (``docs/evidence/cures.py``), by the norms, judged on
scenes that took no part and counted on a third set.
"""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from matplotlib.axes import Axes
from pictures import small_png
from torch import Tensor, nn

from captum_paramsal import DiscernibleNeurons, Filter, ParameterSaliency, Reference
from captum_paramsal.demo import CLASSES, Scenes, load_model, load_scenes, make_scenes, normalize
from captum_paramsal.reference import Exemplars, PictureCrops
from captum_paramsal.repair import CureSettings, cure
from captum_paramsal.viz import INK, PALETTE, new_axes, trace_plot

LOG = logging.getLogger("story_picture")
SIZE = (8.3, 2.62)  # inches; a hundred pixels of a page each
SIDE, TOP = 1.62, 0.62
CROP, CROPS = 0.52, 6
PALE = "#5b626b"
BATCH = 200


@dataclass(frozen=True)
class Story:
    """What the picture shows.

    Attributes:
        scene: The picture that the model got wrong, ``(3, H, W)``.
        says: What the model took it for, and how sure it was.
        true: Its class.
        exemplars: Those of one of its guiltiest filters.
        score: How far that filter is above its usual, in standard deviations.
        crops: What the filter sees in the first of them.
        points: Pixels in which the trace of what the model says ends, through that filter, ``(P, 2)``.
        heat: The same as a heat map, ``(H, W)``.
        pixels: In which that trace ends in all.
        after: What the cured model says of the scene, and how sure it is.
        cured: Mistakes of a third set that are right after the cure, and of how many.
        broken: Right images of it that are wrong after the cure, and of how many.
    """

    scene: Tensor
    says: tuple[str, float]
    true: str
    exemplars: Exemplars
    score: float
    crops: list[Tensor]
    points: Tensor
    heat: Tensor
    pixels: int
    after: tuple[str, float]
    cured: tuple[int, int]
    broken: tuple[int, int]

    @property
    def accuracies(self) -> tuple[float, float]:
        """Of the third set, before the cure and after."""
        images, right = self.cured[1] + self.broken[1], self.broken[1]
        return right / images, (right + self.cured[0] - self.broken[0]) / images


def said(model: nn.Module, scenes: Scenes) -> Tensor:
    """Probabilities of all scenes, ``(N, C)``."""
    with torch.no_grad():
        return torch.cat([model(part).softmax(dim=1) for part in normalize(scenes.images).split(BATCH)])


def cured_model() -> tuple[nn.Module, str]:
    """The demo's model with the cure, and the reason why that is kept.

    Raises:
        RuntimeError: The cure was refused.
    """
    model = load_model().eval()
    scenes = make_scenes(3000, seed=41, cue_agreement=0.6)
    wrong = said(model, scenes).argmax(dim=1) != scenes.labels
    parts = [[(normalize(scenes.images[which]), scenes.labels[which])] for which in (wrong, ~wrong)]
    found = cure(model, *parts, settings=CureSettings(change="norms"), show_progress=False)
    if found.patch is None:
        message = f"Expected a cure that is kept, got: {found.verdict.reason}"
        raise RuntimeError(message)
    found.patch.apply(model)
    return model, found.verdict.reason


def tell() -> Story:
    """Run everything."""
    model, usual, scenes = load_model().eval(), load_scenes("validation"), load_scenes("test")
    reference = Reference.fit(
        model, [(normalize(usual.images), usual.labels)], exemplars=9, tail=None, show_progress=False
    )
    saliency = ParameterSaliency(model, reference)
    before = said(model, scenes)
    cured, reason = cured_model()
    LOG.info(reason)
    after = said(cured, scenes)
    wrong, right = (shares.argmax(dim=1) != scenes.labels for shares in (before, after))
    answers = before.argmax(dim=1)
    number, guilty = named_after_the_answer(saliency, scenes, answers, (wrong & ~right).nonzero()[:, 0])
    one, label = normalize(scenes.images[number : number + 1]), scenes.labels[number : number + 1]
    score = saliency.attribute(one, target=label)[0, saliency.filters.index(guilty)]
    exemplars = reference.exemplars(guilty)
    neurons = DiscernibleNeurons(model)
    whole, through = (neurons.trace(one, answers[number : number + 1], through=only) for only in (None, guilty))
    third = make_scenes(2000, seed=42, cue_agreement=0.6)
    was, now = (said(one, third).argmax(dim=1) == third.labels for one in (model, cured))
    return Story(
        scene=scenes.images[number],
        says=_answer(before[number]),
        true=CLASSES[int(label)],
        exemplars=exemplars,
        score=float(score),
        crops=PictureCrops(model, usual.images).of(exemplars)[:CROPS],
        points=through.points(0),
        heat=through.heatmap()[0],
        pixels=len(whole.points(0)),
        after=_answer(after[number]),
        cured=(int((~was & now).sum()), int((~was).sum())),
        broken=(int((was & ~now).sum()), int(was.sum())),
    )


def named_after_the_answer(
    saliency: ParameterSaliency, scenes: Scenes, answers: Tensor, numbers: Tensor
) -> tuple[int, Filter]:
    """The first of some mistakes with a filter, among its three guiltiest, that is named after the model's answer.

    Raises:
        RuntimeError: There is none.
    """
    for number in numbers.tolist():
        scores = saliency.attribute(normalize(scenes.images[number][None]), target=scenes.labels[number][None])
        for guilty in saliency.filters.top(scores, k=3)[0]:
            name = saliency.reference.exemplars(guilty).short_name(CLASSES) if saliency.reference else None
            if (name or "").startswith(CLASSES[int(answers[number])]):
                return number, guilty
    message = "Expected a mistake with a filter that is named after the model's answer, got none."
    raise RuntimeError(message)


def _answer(shares: Tensor) -> tuple[str, float]:
    return CLASSES[int(shares.argmax())], float(shares.max())


def draw(story: Story) -> Axes:
    """Four steps from left to right."""
    axes = new_axes(*SIZE)
    figure = axes.figure
    axes.remove()
    figure.set_layout_engine("none")
    lefts = [0.05 + step * (SIDE + 0.5) for step in range(4)]
    titles = ("A wrong answer", "A guilty filter", "What it saw", "A cure that held")
    for number, (left, title) in enumerate(zip(lefts, titles, strict=True), 1):
        words(figure, left, 0.2, f"{number}  {title}", 10, weight="bold")
    panel(figure, lefts[0], TOP, SIDE).imshow(story.scene.permute(1, 2, 0), interpolation="nearest")
    words(figure, lefts[0], 0.42, f"says {story.says[0]}, {percent(story.says[1])} sure", color=PALETTE[1])
    words(figure, lefts[0], TOP + SIDE + 0.17, f"it is a {story.true}", color=PALETTE[0])
    draw_filter(figure, lefts[1], story)
    trace_plot(story.scene, story.points, heatmap=story.heat, ax=panel(figure, lefts[2], TOP, SIDE))
    words(figure, lefts[2], 0.42, f"{story.says[0]}, traced through it", color=PALE)
    words(figure, lefts[2], TOP + SIDE + 0.17, f"{len(story.points)} of the {story.pixels} pixels it ends in", 8.5)
    draw_cure(figure, lefts[3], story)
    return panel(figure, 0, 0, 0.01)


def draw_filter(figure: Any, left: float, story: Story) -> None:
    """Its name, how far it stands out, and what it looks for."""
    words(figure, left, 0.42, str(story.exemplars.filter), 8.5, family="monospace")
    for place, crop in enumerate(story.crops):
        across, down = place % 3, place // 3
        at = left + across * (CROP + 0.03), TOP + 0.2 + down * (CROP + 0.03)
        panel(figure, *at, CROP).imshow(crop.permute(1, 2, 0), interpolation="nearest")
    words(figure, left, TOP + 0.12, "is most active for", color=PALE)
    name, count = (story.exemplars.short_name(CLASSES) or "").split(", ")
    lines = (f"mostly in scenes of {name}, {count}", f"its gradient is {story.score:.1f} σ above usual")
    for row, line in enumerate(lines):
        words(figure, left, TOP + 0.2 + 2 * CROP + 0.22 + row * 0.18, line, 8.5)


def draw_cure(figure: Any, left: float, story: Story) -> None:
    """What the cured model says of the scene, and of scenes that took no part."""
    words(figure, left, 0.42, "new weights of batch norms", color=PALE)
    right = story.after[0] == story.true
    counted = (
        (f"now says {story.after[0]}, {percent(story.after[1])}", PALETTE[0] if right else PALETTE[1]),
        (f"On {story.cured[1] + story.broken[1]:,} new scenes:", INK),
        (f"{story.cured[0]} of {story.cured[1]} mistakes cured", INK),
        (f"{story.broken[0]} of {story.broken[1]:,} right broken", INK),
        (f"accuracy {percent(story.accuracies[0])} → {percent(story.accuracies[1])}", INK),
        ("a patch, to take off again", PALE),
    )
    for row, (line, color) in enumerate(counted):
        words(figure, left, TOP + 0.17 + row * 0.27, line, 9, color=color)


def percent(share: float) -> str:
    """As people write it."""
    return f"{share:.0%}".replace("%", " %")


def panel(figure: Any, left: float, top: float, side: float) -> Axes:
    """Square axes at a place in inches from the upper left corner, without a frame."""
    across, whole = SIZE
    axes: Axes = figure.add_axes((left / across, 1 - (top + side) / whole, side / across, side / whole))
    axes.set_axis_off()
    return axes


def words(figure: Any, left: float, top: float, text: str, size: float = 9, **more: Any) -> None:
    """A line of text, its baseline at a place in inches from the upper left corner."""
    about = {"fontsize": size, "va": "baseline", "color": INK, **more}
    figure.text(left / SIZE[0], 1 - top / SIZE[1], text, **about)


def main() -> None:
    """Write ``_static/story.png``, and print what is on it."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    story = tell()
    path = Path(__file__).with_name("_static") / "story.png"
    path.write_bytes(small_png(draw(story), dpi=180))
    LOG.info("%s", story.exemplars)
    LOG.info("says %s, then %s; cured %s, broken %s", story.says, story.after, story.cured, story.broken)
    LOG.info("%s, %.0f KiB", path, path.stat().st_size / 1024)


if __name__ == "__main__":
    main()
