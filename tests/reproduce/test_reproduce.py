"""Figures of a tiny network: files, intervals and controls; the same bits resumed and shared."""

import csv
import io
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from reproduce.small_figures import QUICK, images, made, model
from torch import nn

from captum_paramsal import InputError, ParameterSaliency, ParamsalError, Reference, SourceError
from captum_paramsal.reproduce import FIGURES, ReproduceSettings, figure_named, reproduce
from captum_paramsal.sources import LabelledTensors

SCRIPT = Path(__file__).with_name("small_figures.py")
FIRST = "profiles"


def rows_of(figure, name):
    return list(csv.DictReader(io.StringIO(figure.contents()[name])))


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    folder = tmp_path_factory.mktemp("unbroken")
    return made(FIRST, folder), folder


def test_files(unbroken, tmp_path):
    figure, _ = unbroken
    files = figure.write(tmp_path)
    assert {file.name for file in files} == {f"{FIRST}{end}" for end in (".csv", "_filters.csv", ".png", ".json")}
    assert (tmp_path / f"{FIRST}.png").read_bytes().startswith(b"\x89PNG")
    content = json.loads((tmp_path / f"{FIRST}.json").read_text())
    assert content["figure"]["source"] == "arXiv 2108.01335, figures 1, 2, 9, 10"
    assert content["counts"] == {
        "reference": 24, "reference_given": False, "images": 24, "mistakes": 8, "correct": 16, "level": 0, "chosen": 6,
        "filters": 22,
    }  # fmt: skip
    assert (content["settings"]["mistakes"], content["settings"]["layers"]) == (6, ["0", "2", "4"])


def test_profiles_are_those_of_the_other_half_against_the_reference(unbroken):
    figure, _ = unbroken
    source, network = images(), model()
    (inputs, labels), (others, classes) = (
        next((batch.inputs, batch.labels) for batch in source.batches(24, range(start, 48, 2))) for start in (0, 1)
    )
    reference = Reference.fit(network, [(inputs, labels)], tail=None, show_progress=False)
    wrong = network(others).argmax(dim=1) != classes
    scores = ParameterSaliency(network, reference).attribute(others, target=classes)[wrong].double()
    row = next(row for row in rows_of(figure, f"{FIRST}.csv") if (row["profile"], row["layer"]) == ("z-score", "2"))
    assert float(row["mistakes"]) == pytest.approx(scores[:, 6:14].mean().item(), rel=1e-4)
    assert float(row["mistakes low"]) < float(row["mistakes"]) < float(row["mistakes high"])
    difference = float(row["mistakes"]) - float(row["correct"])
    assert float(row["difference"]) == pytest.approx(difference, rel=1e-6)


@pytest.mark.usefixtures("undrawn")
def test_resumed_is_unbroken(unbroken, tmp_path, monkeypatch):
    figure, _ = unbroken
    calls = []

    def stopping(self, *args):
        calls.append(args)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return kept(self, *args)

    kept = ParameterSaliency.score
    monkeypatch.setattr(ParameterSaliency, "score", stopping)
    with pytest.raises(KeyboardInterrupt):
        made(FIRST, tmp_path)
    monkeypatch.undo()
    pieces = {file: file.stat().st_mtime_ns for file in (tmp_path / "pieces").iterdir()}
    resumed = made(FIRST, tmp_path)
    assert (resumed.tables, resumed.context) == (figure.tables, figure.context)
    assert pieces.items() <= {file: file.stat().st_mtime_ns for file in (tmp_path / "pieces").iterdir()}.items()


@pytest.mark.usefixtures("undrawn")
def test_a_given_reference_leaves_all_images_to_look_at(tmp_path):
    source, network = images(), model()
    batch = next(source.batches(48))
    reference = Reference.fit(network, [(batch.inputs, batch.labels)], show_progress=False)
    figure = reproduce(FIRST, network, source, tmp_path, reference=reference, settings=QUICK)
    assert (figure.context["counts"]["images"], figure.context["counts"]["reference_given"]) == (48, True)


def test_an_unknown_figure_lists_all():
    with pytest.raises(InputError, match=r"got 'knockout'; nearest: knock-out. There are:") as caught:
        figure_named("knockout")
    assert all(f"  {name} " in str(caught.value) for name in FIGURES)


def test_too_few_of_a_kind(tmp_path):
    source, network = images(), model()
    pixels = next(source.batches(48)).inputs
    with torch.no_grad():
        right = LabelledTensors(pixels, network(pixels).argmax(dim=1))
    with pytest.raises(SourceError, match="at least two mistakes and two correct images among the 24"):
        reproduce(FIRST, network, right, tmp_path, settings=QUICK)
    with pytest.raises(SourceError, match="at least four labelled images"):
        reproduce(FIRST, network, LabelledTensors(pixels[:3], [0, 1, 2]), tmp_path, settings=QUICK)


@pytest.mark.parametrize("wrong", [{"mistakes": 0}, {"images": 3}, {"learning_rate": 0.0}, {"batch_size": 0}])
def test_sizes_out_of_bounds(wrong):
    with pytest.raises(ParamsalError, match=f"Expected `{next(iter(wrong))}`"):
        replace(QUICK, **wrong)


def test_full_takes_every_image_and_mistake():
    full = ReproduceSettings.full(mistakes=9)
    assert (full.images, full.mistakes) == (None, 9)


class Renamed(nn.Module):
    """Returns class scores under a name of its own."""

    def __init__(self):
        super().__init__()
        self.network = model()

    def forward(self, images):
        return {"classes": self.network(images)}


@pytest.mark.slow
@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_with_the_output_of_a_users_own(name, tmp_path):
    figure = reproduce(name, Renamed(), images(), tmp_path, settings=QUICK, output=lambda made: made["classes"])
    plain = made(name, tmp_path)
    assert figure.contents().keys() == plain.contents().keys()
    assert all(figure.contents()[f"{table}.csv"].count("\n") == len(rows) + 1 for table, rows in plain.tables.items())


@pytest.mark.slow
@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_shared_by_two_processes(name, tmp_path):
    processes = [
        subprocess.Popen(  # noqa: S603 -- our own script
            [sys.executable, str(SCRIPT), str(tmp_path), name],
            env=os.environ | {"RANK": str(rank), "WORLD_SIZE": "2", "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(2)
    ]
    printed = [process.communicate(timeout=300)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], printed
    alone = made(name, tmp_path / "alone").contents()
    tables = [file for file in alone if file.endswith(".csv")]
    assert tables
    assert all((tmp_path / file).read_text() == alone[file] for file in tables)
