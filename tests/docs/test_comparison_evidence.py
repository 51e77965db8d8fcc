"""The study of the page that compares methods on three networks, on small ones."""

import argparse
from dataclasses import replace

import numpy as np
import pytest
import torch
from comparison.small_runs import small_run
from docs.scripts import loaded
from metrics.small_cases import small_model, some_images
from scipy.stats import rankdata, spearmanr

from captum_paramsal import Reference

NEEDED = (
    "cifar10",
    "photos",
    "results",
    "corruptions",
    "domain_features",
    "depth_bias",
    "pot_saliency_cases",
    "small_transformer",
    "comparison_tables",
    "comparison",
)
COUNT = 12
METHODS = ["grad_cam", "saliency", "integrated_gradients", "random"]


@pytest.fixture(scope="module")
def scripts():
    with loaded(*NEEDED) as found:
        yield found


@pytest.fixture(scope="module")
def tables(scripts):
    return scripts["comparison_tables"]


@pytest.fixture(scope="module")
def judged(tables):
    metrics = ["infidelity", "deletion", "insertion", "sensitivity", "pointing_game"]
    boxes = torch.tensor([[1.0, 1.0, 5.0, 6.0]]).expand(COUNT, 4)
    found = small_run(METHODS, some_images(COUNT)[0], metrics=metrics, boxes=boxes)
    mistakes = torch.arange(COUNT) % 2 == 0
    groups = {"mistakes": mistakes, "correct images": ~mistakes}
    return tables.Judged("a small network", found, groups, torch.arange(COUNT) < COUNT // 2)


def cells_of(table):
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()]


def test_as_many_of_each_kind_in_turn(scripts):
    wrong = torch.tensor([False, True, False, False, True, True, False])
    assert scripts["comparison"].in_turn([wrong, ~wrong], 10).tolist() == [1, 0, 4, 2, 5, 3]
    assert scripts["comparison"].in_turn([wrong, ~wrong], 2).tolist() == [1, 0, 4, 2]
    assert scripts["comparison"].halves_of(8, 2).tolist() == [True, True, False, False] * 2


def test_ranks_are_those_of_the_means_and_controls_have_a_place(tables, judged):
    summary = tables.ranks_of(judged.found)
    places = tables.control_places(judged.found, summary)
    table = cells_of(tables.rank_table(summary, places, judged.found.methods))
    assert [row[0] for row in table[2:]] == [*METHODS, "images"]
    assert table.pop()[1:] == [str(COUNT)] * len(summary.ranks)
    at = table[0].index("insertion")
    means = judged.found.column("insertion").nanmean(dim=1)[: len(METHODS)]
    for row, rank in zip(table[2:-1], rankdata(-means[:-1].numpy()), strict=True):
        assert row[at].translate({ord(c): None for c in "*\\"}).startswith(f"{rank:g} (")
    place = 1 + int((means[:-1] > means[-1]).sum())
    assert places["random", "insertion"] == place
    assert table[-1][at] == f"as {place}"


def test_a_star_where_a_control_is_as_good(tables):
    row = {"rank": 2.0, "low": 1.0, "high": 3.0, "top": True, "unbeaten_controls": ["random"]}
    assert tables._rank_cell(row) == r"**2**\* (1 to 3)"
    assert tables._rank_cell(row | {"top": False}) == r"2\* (1 to 3)"
    assert tables._rank_cell(row | {"top": False, "unbeaten_controls": []}) == "2 (1 to 3)"


def test_means_have_a_row_for_each_method_with_a_score(tables, judged):
    table = cells_of(tables.mean_table(judged.found, ("deletion", "pointing game")))
    assert table[0] == ["method", "deletion ↓", "pointing game ↑"]
    assert [row[0] for row in table[2:]] == [*METHODS, "random order", "centre pixel", "random pixel"]
    row = next(row for row in judged.found.table() if (row["method"], row["metric"]) == ("random", "deletion"))
    assert table[5][1] == f"{row['mean']:.3f} ({row['low']:.3f} to {row['high']:.3f})"


def test_the_order_of_methods_in_two_groups(tables, judged):
    halves = [judged.found.where(mask) for mask in (judged.halves, ~judged.halves)]
    alike = tables.same_order(*halves, "insertion")
    means = [half.column("insertion")[:3].nanmean(dim=1) for half in halves]
    assert alike.correlation == pytest.approx(spearmanr(*means).statistic)
    assert alike.low <= alike.correlation <= alike.high
    table = cells_of(tables.order_table(judged))
    assert table[0] == ["metric", "mistakes, correct images", "two halves alike"]
    assert {row[0] for row in table[2:]} == {c.name for c in judged.found.columns} & {*tables.RANKED}


def test_the_order_of_methods_on_two_networks(tables, judged):
    groups = {name: chosen[:8] for name, chosen in judged.groups.items()}
    found = judged.found.where(torch.arange(COUNT) < 8)
    few = replace(judged, title="another", found=found, groups=groups, halves=judged.halves[:8])
    table = cells_of(tables.networks_table([judged, few]))
    assert table[0] == ["metric", "a small network, another"]
    rows = dict(table[2:])
    assert [*rows] == [*tables.RANKED]
    assert rows["ROAD"] == ""
    assert rows["insertion"] == tables._correlation(tables.same_order(judged.found, few.found, "insertion"))
    assert "## Do networks order the methods alike?" in tables.numbers([judged, few])


def test_ranks_are_of_images_that_all_methods_have_a_score_for(tables, judged):
    scores = judged.found.scores.clone()
    at = [column.name for column in judged.found.columns].index("insertion")
    scores[0, at, 2:6] = torch.nan
    found = replace(judged.found, scores=scores)
    (ranks,) = (one for one in tables.ranks_of(found).ranks if one.measure == "insertion")
    assert ranks.images == COUNT - 4
    assert {one.method for one in ranks.methods} == {"grad_cam", "saliency", "integrated_gradients"}
    assert tables.shared_scores(found, "insertion")[:, 2:6].isnan().all()


def test_too_few_images_have_no_order(tables, judged):
    few = [judged.found.where(torch.arange(COUNT) < count) for count in (3, COUNT)]
    assert tables.same_order(*few, "insertion") is None
    assert tables._correlation(None) == ""


def test_pairs_and_what_is_left_out(tables, judged):
    table = cells_of(tables.difference_table(judged.found, "integrated_gradients", ("deletion",)))
    assert [row[0] for row in table[2:]] == ["grad_cam", "saliency", "random"]
    scores = dict(zip(judged.found.methods, judged.found.column("deletion"), strict=True))
    for name, cell in table[2:]:
        assert cell.startswith(f"{(scores[name] - scores['integrated_gradients']).nanmean().item():+.3f} (")
    assert tables.left_out(judged.found).startswith("Degenerate maps: ")


def test_a_figure_of_several_networks(tables, judged):
    assert tables.rank_figure([judged, judged]).startswith(b"\x89PNG")


@pytest.mark.slow
def test_one_command_compares_and_resumes(scripts, tmp_path, monkeypatch):
    study, options = scripts["comparison"], ["--work", str(tmp_path), "--networks", "squeezenet", "transformer"]
    images, labels = some_images(8)
    groups = {"mistakes": labels == 0, "correct images": labels != 0}
    model = small_model()

    def subject(name: str, _: argparse.Namespace) -> object:
        boxes = [torch.tensor([[1.0, 1.0, 5.0, 6.0]])] * 8 if name == "squeezenet" else None
        reference = Reference.fit(model, [(images, labels)], show_progress=False)
        methods = ("grad_cam", "saliency", "input_space_saliency", "random")
        return study.Subject(name, model, images, boxes, groups, 4, 4, reference, methods)

    monkeypatch.setattr(study, "SUBJECTS", dict.fromkeys(("squeezenet", "transformer"), subject))
    study.main(options)
    written = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert {"comparison_numbers.md", "comparison_ranks.png", "squeezenet.safetensors"} <= written.keys()
    text = written["comparison_numbers.md"].decode()
    assert "## transformer\n" in text
    assert "### mistakes: 2\n" in text
    assert text.count("Means, the object:") == 3
    monkeypatch.setattr("captum_paramsal.comparison.task.Task.scored", None)
    study.main(options)
    assert (tmp_path / "comparison_numbers.md").read_bytes() == written["comparison_numbers.md"]


def test_small_objects_are_half_of_mistakes_and_of_correct_images(scripts, tmp_path, monkeypatch):
    study = scripts["comparison"]
    generator = np.random.default_rng(0)
    count = 60
    images = torch.rand(count, 3, 8, 8)
    boxes = [torch.tensor([[0.0, 0.0, *generator.choice([3.0, 8.0], 2)]]) for _ in range(count)]
    photos = scripts["photos"].Photos(images, torch.arange(count) % 4, boxes)
    model = small_model(dtype=torch.float32)
    monkeypatch.setattr(study, "load_photos", lambda *_: photos)
    options = argparse.Namespace(data=tmp_path, work=tmp_path, per_group=4, reference=30, photos=count, side=8)
    subject = study.on_photos("small", lambda _: model, study.SQUEEZENET_INPUT)("small", options)
    small, mistakes = subject.groups["small objects"], subject.groups["mistakes"]
    assert (len(subject.images), int(mistakes.sum()), int(small.sum()), int((small & mistakes).sum())) == (8, 4, 4, 2)
    assert subject.turn == 4
    assert subject.reference.count == count // 2
