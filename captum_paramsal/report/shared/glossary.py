"""What the numbers on a page mean, in words: once for all reports."""

from __future__ import annotations

import re

from markupsafe import Markup

_WORDS = """
accuracy: accuracy: Share of the images that the model classified correctly.
active: active: Share of the images in which the filter's highest activation is above 0.
adds: share: What a filter adds to the loss of B, less that of A, on these images. All shares add up to the difference.
area: of the area: Share of the picture that lies outside of the object.
broken: broken: Images that were right before and are wrong after the change.
agreement: agreement: How similar both checkpoints are on an image: 1 where they agree in everything.
by-chance: by chance: What chance alone would give.
candidates: right or wrong: How many images both checkpoints, one of them, or none classified correctly.
change: change: How much the weights moved, beside their size or beside what is usual in their layer.
channels: channels: Maps that the layer makes of a picture, one for each pattern that it looks for.
coherence: coherence: 1 if the gradients of all mistakes point the same way, about 0 if each points elsewhere.
confidence: confidence: Softmax probability of a class, which says how sure the model is. 100 % is certain.
control: less control: How much more than on images that both checkpoints get right, with its 95 % interval.
correct: correct images: Images whose predicted class is the true one.
cured: cured: Images that were wrong before and are right after the change.
degenerate: degenerate maps: Maps that are the same everywhere or not finite; they have no score.
difference: difference: One mean less the other, of the same images; 0 is no difference.
doubt: doubt: One less the mean of the label's confidence and support: 0 where nothing speaks against the label.
evidence: of the evidence: Share of what a map gives to the score of the predicted class.
excess: excess: How far above the usual a filter is in mistakes, on average, in standard deviations.
expected-share: should be: Share of p-values that should be this small if they are what they say.
failures: failures: Steps that raised an error and have no score.
filters: filters: The pattern detectors that the scored layers are made of.
found-share: are: Share of p-values that are this small, with two standard errors.
images: images: Images that were looked at.
interval: interval: Where the value among all such images lies, with 95 % confidence.
iou: IoU: The area that two boxes share beside the area that they cover together: 1 for one and the same, 0 for apart.
lift: times chance: How much more often a class is among the pictures that a filter is most active in than in all.
mean: on average: Mean over the images of this column.
methods: methods: Ways to make a map of the pixels behind an answer.
mistakes: mistakes: Images whose predicted class is not the true one.
nats: nats: Minus the logarithm of p: 0 is ordinary, 4.6 is one in a hundred, 6.9 one in a thousand.
numbers: numbers: How many single weights were changed.
passes: passes through: Of the neurons in which a class's trace ends, the share that is reached through the filter.
overlap: overlap: Share of the selected neurons that both checkpoints have: 1 for all, 0 for none.
p-value: p: How often chance alone gives a value as large or larger. Small is unusual.
parting: part there: In how many images this is the first layer where the traces have no neuron in common.
parts: part: How many images learned, chose, judged or were left out.
pixels: px: Pixels of the input in which a trace ends.
q-value: q-value: Share of false alarms to expect among all filters that stand out as much as this one or more.
relies: channels it relies on: Channels with much evidence for the class in images that the model is right about.
score: score: Standard deviations above what is usual for a filter. About 0 is ordinary, above 3 unusual.
set-score: score: How near to the top a filter is by coherence, excess and pull at once. It only ranks.
share: share: A part of a whole, in percent.
shared: shared: Channels that two classes rely on, beside those that either relies on.
significant: significant filters: Filters that are more salient in mistakes than in correct images, by more than chance.
similarity: similarity: 1 if the same filters stand out in the same measure, 0 if they have nothing in common.
standing: stands out: How far a filter is above the others in its image, in standard deviations.
superiority: superiority: Chance that a filter is more salient in a mistake than in a correct image; 0.5 is chance.
support: support: Share of the most similar images that have a class as their label.
unusual: unusual: Filters or channels of an image that stand out by more than what is usual.
"""
GLOSSARY = {key: (name, words) for key, name, words in (line.split(": ", 2) for line in _WORDS.strip().splitlines())}
"""Each number's name, and what it means, by its key."""

_USED = re.compile(r'href="#term-([a-z-]+)"')
_PLACE = "<!-- glossary -->"


def term(key: str, name: str = "") -> Markup:
    """A number's name: its meaning shows to who points at it, and a link leads all others to the page's glossary.

    >>> print(term("accuracy"))
    <a class="term" href="#term-accuracy" title="Share of the images that the model classified correctly.">accuracy</a>

    Args:
        key: Of the glossary.
        name: What the page calls it here; as in the glossary by default.
    """
    usual, words = GLOSSARY[key]
    return Markup('<a class="term" href="#term-{}" title="{}">{}</a>').format(key, words, name or usual)


def meaning(key: str) -> str:
    """What a number means, for the ``title`` of one that the glossary explains too."""
    return GLOSSARY[key][1]


def with_glossary(page: str) -> str:
    """The page with a glossary of the numbers that it names, at the place that its template keeps for it.

    >>> print(with_glossary(f"{term('iou', 'overlap')}<!-- glossary -->").partition("</a>")[2])
    <dt id="term-iou">IoU</dt><dd>The area that two boxes share beside the area that they cover together: 1 for one and the same, 0 for apart.</dd>
    """  # noqa: E501 -- what it writes is long
    used = sorted(set(_USED.findall(page)), key=lambda key: GLOSSARY[key][0].lower())
    entries = [Markup('<dt id="term-{}">{}</dt><dd>{}</dd>').format(key, *GLOSSARY[key]) for key in used]
    return page.replace(_PLACE, "\n".join(entries), 1)
