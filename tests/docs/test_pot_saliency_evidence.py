"""The script of the page on POT saliency, on a small network and made-up curves."""

import pytest
import torch
from docs.scripts import loaded
from torch import nn

from captum_paramsal import POTSaliency, Reference
from captum_paramsal.repair import ControlImages, InterventionCurve

OWN = (
    "photos",
    "cifar10",
    "corruptions",
    "results",
    "domain_features",
    "depth_bias",
    "pot_saliency_cases",
    "pot_saliency_tables",
    "pot_saliency",
)


@pytest.fixture(scope="module")
def scripts():
    with loaded(*OWN) as found:
        yield found


@pytest.fixture(scope="module")
def cases(scripts):
    return scripts["pot_saliency_cases"]


@pytest.fixture(scope="module")
def tables(scripts):
    return scripts["pot_saliency_tables"]


def small_model():
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 20, 3), nn.ReLU(), nn.Conv2d(20, 40, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(40, 4)).eval()


@pytest.fixture(scope="module")
def case(cases):
    model = small_model()
    images = torch.rand(300, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        predictions = model(images).argmax(dim=1)
    labels = (predictions + (torch.arange(300) % 2)) % 4
    reference = Reference.fit(model, [(images[:250], labels[:250])], tail=0.3, show_progress=False)
    wrong = (labels != predictions).nonzero()[-20:, 0]
    right = (labels == predictions).nonzero()[-20:, 0]
    rows = cases.ParameterSaliency(model, layers=reference.filters).attribute(images[250:], target=labels[250:])
    return cases.Case(
        "photos",
        model,
        images[wrong],
        labels[wrong],
        ControlImages(images[right], labels[right], 1),
        reference,
        cases.rankings_of(model, rows[-20:], cases.at_tail(reference, 0.1), ("2",)),
        rows,
    )


@pytest.fixture(scope="module")
def options(scripts, tmp_path_factory):
    return scripts["pot_saliency"]._options(["--work", str(tmp_path_factory.mktemp("work"))])


@pytest.fixture(scope="module")
def found(scripts, case, options):
    script = scripts["pot_saliency"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(script, "ACTIONS", {name: (10, act) for name, (_, act) in script.ACTIONS.items()})
        return script.curves(case, options, ["random"])


@pytest.mark.slow
def test_every_arm_has_a_curve_of_every_action_and_it_is_not_made_again(scripts, case, found, options):
    arms = ["POT, mle", "POT, exponential", "z-score", "raw profile", "last stage"]
    assert {action: list(curves) for action, curves in found.items()} == {"knock-out": arms, "fine-tuning": arms}
    ranking = torch.full_like(case.rankings["z-score"], torch.nan)
    again = scripts["pot_saliency"].curve(case, "knock-out", "z-score", ranking, options)
    assert torch.equal(again.true, found["knock-out"]["z-score"].true)


def test_a_higher_threshold_is_that_of_a_reference_with_a_smaller_tail(cases, case):
    model, filters = case.model, case.filters
    images = torch.rand(200, 3, 8, 8, generator=torch.Generator().manual_seed(2))
    large, small = (
        Reference.fit(model, [(images, torch.arange(200) % 4)], layers=filters, tail=tail, show_progress=False)
        for tail in (0.3, 0.15)
    )
    profile = case.rankings["raw profile"]
    raised = POTSaliency(model, cases.at_tail(large, 0.15)).score(profile)
    torch.testing.assert_close(raised, POTSaliency(model, small).score(profile))


def test_the_last_stage_alone_comes_first(case):
    order = case.rankings["last stage"].argsort(dim=1, descending=True)
    assert (order[:, :40] >= 20).all()


def test_two_fire_modules_are_a_stage(cases):
    filters = cases.FilterIndex({"features.0": 2, "features.3.squeeze": 1, "features.4.squeeze": 1, "features.12.a": 2})
    names, stages = cases.stages_of(filters)
    assert names == ["conv1", "fire2-3", "fire8-9"]
    assert stages.tolist() == [0, 0, 1, 1, 2, 2]


def made_up(corrected, broken=0.0):
    corrected = torch.tensor(corrected, dtype=torch.bool)
    count, steps = corrected.shape
    levels = torch.linspace(0.5, 0.1, steps, dtype=torch.float64).expand(count, steps)
    return InterventionCurve(
        "knocked out",
        labels=torch.zeros(count, dtype=torch.int64),
        predicted=torch.ones(count, dtype=torch.int64),
        wrong=levels,
        true=1 - levels,
        corrected=corrected,
        broken=torch.full((count, steps), broken, dtype=torch.float64),
        context={},
    )


def test_curve_table_and_paired_differences(tables):
    arms = {
        "POT, mle": made_up([[0, 0, 1]] * 4, 0.25),
        "POT, exponential": made_up([[0, 1, 1]] * 2 + [[0, 0, 0]] * 2),
        "random": made_up([[0, 0, 0]] * 4),
    }
    lines = tables.curve_table(arms).splitlines()
    assert lines[2].startswith("| POT, mle | -40.0 (-40.0 to -40.0) | 40.0 (40.0 to 40.0) | 100.0 (100.0 to 100.0) |")
    assert lines[2].split("|")[5].strip() == "25.0 (25.0 to 25.0)"
    lines = tables.difference_table(arms).splitlines()
    assert [line.split("|")[1].strip() for line in lines[2:]] == [
        "POT, mle, minus POT, exponential",
        "POT, mle, minus random",
    ]
    assert lines[2].split("|")[4].strip().startswith("+50.0 (")
    assert lines[3].split("|")[4].strip() == "+100.0 (+100.0 to +100.0)"


def test_arms_are_compared_within_their_reference(tables):
    arms = ["POT, mle, own", "z-score, own", "POT, mle, other", "z-score, other", "random"]
    assert list(tables._pairs(dict.fromkeys(arms))) == [
        ("POT, mle, own", "z-score, own"),
        ("POT, mle, own", "random"),
        ("POT, mle, other", "POT, mle, own"),
        ("POT, mle, other", "z-score, other"),
        ("POT, mle, other", "random"),
    ]


def test_kinds_follow_each_other(tables):
    rows = [[0, 1]] * 2 + [[0, 0]] * 2 + [[0, 1], [0, 0]] + [[0, 1]] * 2
    line = tables.kind_table({"random": made_up(rows)}).splitlines()[2]
    assert [cell.strip().split()[0] for cell in line.split("|")[2:-1:2]] == ["100", "0", "50", "100"]


@pytest.mark.slow
def test_everything_is_written(tables, case, found, tmp_path):
    tables.write_case(case, found, tmp_path)
    text = (tmp_path / "photos.md").read_text("utf-8")
    assert "# photos: 20 mistakes" in text
    assert "| share of all filters | 33.3 | 66.7 |" in text
    tables.write_tails([case, case], 0.1, tmp_path)
    living = int((case.reference.std > 0).sum())
    assert f"| all | {living} |" in (tmp_path / "tails.md").read_text("utf-8")
    tables.write_thresholds({"70 %": found["fine-tuning"]["z-score"], "90 %": made_up_like(found)}, "90 %", tmp_path)
    assert "| minus 90 % |" in (tmp_path / "thresholds.md").read_text("utf-8")
    assert {path.name for path in tmp_path.glob("*.png")} == {"pot_saliency_photos.png", "pot_saliency_tails.png"}


def made_up_like(found):
    return found["fine-tuning"]["POT, mle"]
