"""The scripts of the page on Levin et al., on a tiny network and made-up results."""

import json
from argparse import Namespace
from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from docs.scripts import loaded
from repair.small_models import CLASSES, Small, drawn, labelled
from safetensors.torch import save_file
from torch.nn.functional import cross_entropy
from torchvision.models import squeezenet1_1

from captum_paramsal import ParameterSaliency, Reference
from captum_paramsal.repair import InterventionCurve, knock_out_curve, mask_pixels, restrict_to_layers

NAMES = ("photos", "cifar10", "results", "parameter_saliency", "parameter_saliency_pixels", "parameter_saliency_tables")


@pytest.fixture(scope="module")
def scripts():
    with loaded(*NAMES) as found:
        yield found


@pytest.fixture(scope="module")
def study(scripts):
    return scripts["parameter_saliency"]


@pytest.fixture(scope="module")
def pixels(scripts):
    return scripts["parameter_saliency_pixels"]


@pytest.fixture(scope="module")
def tables(scripts):
    return scripts["parameter_saliency_tables"]


@pytest.fixture(scope="module")
def subject(study):
    """A network with random weights; some of its answers happen to be right."""
    model = Small().eval()
    usual, labels, _ = labelled(220, seed=1)
    reference = Reference.fit(model, [(usual, labels)], show_progress=False)
    saliency = ParameterSaliency(model, reference)
    images, true, _ = labelled(30, seed=2)
    with torch.no_grad():
        predicted = model(images).argmax(dim=1)
    assert 5 < (predicted != true).sum() < 25
    layout = study.Layout({"one": "features.0", "two": "features.3"}, ["features.3"], ["features.0"], size=10, times=1)
    raw, known = (saliency.profiler(one, target) for one, target in ((images, true), (usual, labels)))
    return study.Subject("small", model, saliency, images, true, predicted, raw.detach(), known.detach(), layout)


@pytest.fixture
def options(tmp_path):
    return Namespace(work=tmp_path, mistakes=4, few=3, most=4, controls=1, pool=None, steps=5, maps=3, cascade=2)


def test_rankings_of_every_arm(study, subject):
    places = subject.mistakes[:4]
    found = {arm: make() for arm, make in study.rankings(subject, places).items()}
    assert set(study.KNOCKED) | set(study.TUNED) | set(study.DISTURBED) == set(found)
    scores = subject.scores[places]
    assert found["z-score"].equal(scores)
    assert found["least salient"].argmax(dim=1).equal(scores.argmin(dim=1))
    last = subject.filters.slice("features.3")
    assert all(one.index < 5 and one.layer == "features.3" for one in subject.filters.top(found["last stage"], 5)[0])
    assert found["last stage"][:, last].equal(scores[:, last])
    assert found["POT"].isfinite().all()
    fresh = deepcopy(subject.model)
    cross_entropy(fresh(subject.images[places[1:2]]), subject.labels[places[1:2]]).backward()
    expected = fresh.features[3].weight.grad[2].square().sum()
    torch.testing.assert_close(found["longest step"][1, last.start + 2], expected)


def test_curves_are_kept(study, subject, options):
    first = study.curves(subject, "knocked", knock_out_curve, ("z-score", "random"), 4, k=4, options=options)
    stamps = {path.name: path.stat().st_mtime_ns for path in options.work.iterdir()}
    assert set(stamps) == {"small-knocked-z-score.safetensors", "small-knocked-random.safetensors"}
    again = study.curves(subject, "knocked", knock_out_curve, ("z-score",), 4, k=4, options=options)
    assert again["z-score"].wrong.equal(first["z-score"].wrong)
    assert {path.name: path.stat().st_mtime_ns for path in options.work.iterdir()} == stamps
    assert first["z-score"].broken.isfinite().all()


def test_controls_are_drawn_from_the_first_right_photos(study, subject, options):
    assert study.controls(subject, options).images.equal(subject.images[subject.right])
    options.pool = 2
    fewer = study.controls(subject, options)
    assert fewer.labels.equal(subject.labels[subject.right[:2]])
    assert fewer.images.equal(subject.images[subject.right[:2]])


def test_profiles_as_group_means(study, subject):
    found = study.profiles(subject)
    wrong = subject.predicted != subject.labels
    here = subject.scores[:, :4].double().mean(dim=1)
    assert found["z one"]["mistakes"][0] == pytest.approx(here[wrong].mean().item())
    gap = here[wrong].mean() - here[~wrong].mean()
    assert found["z one"]["difference"][0] == pytest.approx(gap.item())
    low, high = found["z one"]["difference"][1:]
    assert low < gap < high
    assert study._auc(torch.tensor([3.0, 1.0, 2.0, 2.0]), torch.tensor([True, False, True, False])) == 0.875
    json.dumps(found)


def test_neighbours_against_chance(study, subject):
    found = study.neighbour_shares(subject)
    values = found["mistakes, all layers, z"]["predicted class"]
    seen = subject.predicted[subject.mistakes]
    same = (seen[:, None] == seen[None]).double().fill_diagonal_(0)
    assert values["chance"][0] == pytest.approx((same.sum(dim=1) / (len(seen) - 1)).mean().item())
    assert values["lift"][0] == pytest.approx(values["near"][0] - values["chance"][0])
    pair = study._sharing(subject, torch.arange(30), subject.mistakes)["confusion pair"]
    one, other = subject.mistakes[0].item(), subject.mistakes[3].item()
    classes = [{subject.predicted[n].item(), subject.labels[n].item()} for n in (one, other)]
    assert pair[0, other] == (classes[0] == classes[1])


def test_steps_tried_on_others(study, subject, options):
    found = study.other_mistakes(subject, options)
    assert set(found) == {"z-score, 0.001", "z-score, 0.003", "random, 0.001"}
    assert found["z-score, 0.001"]["minus random"]["random"] == [0, 0, 0]
    assert set(found["z-score, 0.001"]["cured"]) >= {"all layers", "early layers", "deep layers", "random"}


def test_a_step_of_the_whole_network(study, subject, options):
    before = deepcopy(subject.model.state_dict())
    rate, changes = 0.3, []
    for place in subject.mistakes[:4].tolist():
        fresh = deepcopy(subject.model)
        image, label = subject.images[place : place + 1], subject.labels[place : place + 1]
        chance = fresh(image).double().softmax(dim=1)[0, label]
        cross_entropy(fresh(image), label).backward()
        with torch.no_grad():
            for one in fresh.parameters():
                one.sub_(rate * one.grad)
        changes.append((fresh(image).double().softmax(dim=1)[0, label] - chance).item())
    found = study.whole_step(subject, rate, options, watched=2)
    assert found["change of true class"][0] == pytest.approx(sum(changes) / 4, rel=1e-4)
    assert all(value.equal(before[name]) for name, value in subject.model.state_dict().items())


@pytest.mark.slow
def test_parts_write_what_they_find(study, subject, options):
    for part in ("profiles", "neighbours", "others", "whole", "noise"):
        study.run_part(part, subject, options)
    names = {path.name for path in options.work.iterdir()}
    assert {"small-profiles.json", "small-neighbours.json", "small-others.json", "small-whole.json"} <= names
    assert "parameter_saliency_neighbours_small.png" in names
    assert len(names) == 5 + 2 * len(study.DISTURBED)


def test_masking_and_its_controls(study, pixels, subject, options):
    named = replace(subject, name="squeezenet")
    names = (pixels.OURS, pixels.CAM, pixels.TRUE_CAM, pixels.LOSS)
    maps = {name: drawn(3, 6, 6, seed=number) for number, name in enumerate(names)}
    for group in ("mistakes", "right"):
        save_file(maps, options.work / f"squeezenet-{group}.maps.safetensors")
    study.run_part("masking", named, options)
    written = json.loads((options.work / "squeezenet-masking.json").read_text("utf-8"))
    assert set(written) == {"mistakes, 0.0", "mistakes, blur", "right, 0.0", "right, blur"}
    found = written["mistakes, 0.0"]
    assert set(found["arms"]) == {"salient", "least salient", "random", "Grad-CAM", "loss gradient"}
    assert found["minus random"]["random"]["change of true class"] == [0, 0, 0]
    direct = mask_pixels(
        subject.model,
        subject.images[subject.mistakes[:3]],
        subject.labels[subject.mistakes[:3]],
        maps[pixels.OURS],
        filter_scores=subject.saliency.attribute,
        top_k=len(subject.filters),
    )
    arm = found["arms"]["salient"]
    assert arm["change of true class"][0] == pytest.approx((direct.true[:, 1] - direct.true[:, 0]).mean().item())
    guilty = (direct.guilty[:, 1] - direct.guilty[:, 0]).mean().item()
    assert arm["change of guilty filters"][0] == pytest.approx(guilty, rel=1e-4)


def test_likeness_with_itself_and_with_others(pixels):
    one = torch.arange(400.0).view(1, 20, 20)
    assert pixels.overlap(one, one).item() == 1
    assert pixels.overlap(one, -one + 500).item() == 0
    maps = dict.fromkeys((pixels.OURS, pixels.CAM, pixels.TRUE_CAM, pixels.LOSS), drawn(4, 26, 26))
    found = pixels.likeness(maps)
    assert found[pixels.CAM]["rank correlation"][0] == pytest.approx(1)
    assert found[f"{pixels.CAM}, of another photo"]["overlap"][0] < 0.5


def test_the_last_layers_are_forgotten_first(pixels):
    model = squeezenet1_1()
    kept = {name: value.clone() for name, value in model.named_parameters()}
    changed = []
    for stage, other in pixels.forgetting(model):
        same = {name.rsplit(".", 1)[0] for name, value in other.named_parameters() if value.equal(kept[name])}
        changed.append((stage, len(same)))
    assert changed == [("fire8-9", 20), ("fire6-9", 14), ("fire2-9", 2), ("everything", 0)]
    assert all(value.equal(kept[name]) for name, value in model.named_parameters())


def test_the_picture_is_of_the_demo(pixels):
    assert pixels.picture(shown=1, usual=20).startswith(b"\x89PNG")


def made_up_curve(seed, count=6, steps=4):
    scores = drawn(count, steps + 1, CLASSES, seed=seed)
    scores[:, 0] = torch.tensor([3.0, 0.0, 1.0])
    broken = torch.full((count, steps + 1), seed / 10, dtype=torch.float64)
    return InterventionCurve.of("knocked out", scores, torch.ones(count, dtype=torch.long), broken, {})


def test_tables_of_curves(tables):
    curves = {"z-score": made_up_curve(1), "random": made_up_curve(2)}
    lines = tables.curve_table(curves, 4).splitlines()
    assert lines[0] == (
        "| 4 filters | change of wrong class | change of true class | corrected | correct images broken |"
    )
    assert lines[2].endswith("| 10.0 (10.0 to 10.0) |")
    gap = tables.gap_table(curves, 4).splitlines()
    assert gap[2].startswith("| minus random |")
    assert gap[2].endswith("| -10.0 (-10.0 to -10.0) |")


@pytest.mark.slow
def test_everything_is_written(scripts, subject, options, monkeypatch):
    study, pixels, tables = (scripts[name] for name in NAMES[-3:])
    monkeypatch.setattr(tables, "picture", lambda: pixels.to_png(tables.new_panels(1, 1, 1)[0], dpi=20))
    for network in tables.NETWORKS:
        for kind in ("knocked", "tuned"):
            for arm in ("z-score", "random"):
                made_up_curve(1).save(options.work / f"{network}-{kind}-{arm}.safetensors")
        found = {
            "profiles": {"profiles": study.profiles(subject)},
            "neighbours": {"neighbours": study.neighbour_shares(subject)},
            "others": {"others": study.other_mistakes(subject, options)},
            "whole": {f"{rate:g}": study.whole_step(subject, rate, options, 2) for rate in (0.001, 0.003)},
        }
        for part, content in found.items():
            (options.work / f"{network}-{part}.json").write_text(json.dumps(content), "utf-8")
    maps = {
        name: drawn(3, 26, 26, seed=seed)
        for seed, name in enumerate((pixels.OURS, pixels.CAM, pixels.TRUE_CAM, pixels.LOSS))
    }
    likeness = {"mistakes": pixels.likeness(maps)}
    pair = {"rank correlation": [0.1, 0.0, 0.2], "SSIM": [0.5, 0.4, 0.6]}
    cascade = {"images": 2, **{stage: {pixels.OURS: pair} for stage in pixels.FORGETTING}}
    covered = {name: drawn(3, 6, 6, seed=seed) for seed, name in enumerate((pixels.OURS, pixels.CAM, pixels.LOSS))}
    masking = {"mistakes, 0.0": pixels.masked(subject, subject.mistakes[:3], covered, 0.0, guilty=True)}
    for part, content in (("maps", likeness), ("cascade", {"cascade": cascade}), ("masking", masking)):
        (options.work / f"squeezenet-{part}.json").write_text(json.dumps(content), "utf-8")
    tables.main(["--work", str(options.work)])
    text = (options.work / "tables.md").read_text("utf-8")
    for words in ("## squeezenet-maps", "| deep layers |", "whole network", "| fire8-9 |", "## resnet20, tuned"):
        assert words in text
    for name in ("profiles_squeezenet", "profiles_resnet20", "knocked", "tuned", "maps"):
        picture = (options.work / f"parameter_saliency_{name}.png").read_bytes()
        assert picture.startswith(b"\x89PNG")


@pytest.mark.data
@pytest.mark.parametrize("network", ["squeezenet", "resnet20", "efficientnet_lite1"])
def test_stages_of_every_network_hold_each_filter_once(study, network, paramsal_data, monkeypatch):
    if network == "efficientnet_lite1":
        pytest.importorskip("timm")
    monkeypatch.setattr(study, "_subject", lambda *parts: parts[:-1])
    options = Namespace(data=paramsal_data, photos=6, pictures=3)
    name, model, (usual, others), layout = study.NETWORKS[network](options)
    assert name == network
    assert len(usual.labels) == len(others.labels) == 3
    filters = ParameterSaliency(model).filters
    counts = {
        stage: int(restrict_to_layers(torch.zeros(len(filters)), filters, pattern).isfinite().sum())
        for stage, pattern in layout.stages.items()
    }
    assert sum(counts.values()) == len(filters)
    patterns = list(layout.stages.values())
    assert patterns[-len(layout.last) :] == list(layout.last)
    assert patterns[: len(layout.early)] == list(layout.early)


def test_tables_are_made_of_every_network(study, tables):
    assert list(study.NETWORKS) == list(tables.NETWORKS)
