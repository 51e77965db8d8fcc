"""Every figure of networks as the papers have them: dense blocks, Inception blocks with an auxiliary head, tokens."""

import csv
import io
from math import isfinite

import pytest
import torch
from cases.families import Family
from reproduce.small_figures import QUICK, labelled

from captum_paramsal.reference import ProcessGroup
from captum_paramsal.reference.pieces import Pieces
from captum_paramsal.reproduce import FIGURES, reproduce
from captum_paramsal.reproduce.neighbours import penultimate
from captum_paramsal.reproduce.subject import open_subject

DENSE = Family("densenet_small", 32, {"memory_efficient": False})
INCEPTION = Family("googlenet_small", 32)
VIT = Family("vit_small", 32)


def network_and_images(family):
    network, *_ = family.build()
    pixels = torch.randn(48, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    return network, labelled(network, pixels)


def subject_of(family, folder):
    network, images = network_and_images(family)
    pieces = Pieces(folder, {}, ProcessGroup())
    return open_subject(network, images, None, settings=QUICK, classes={}, pieces=pieces, device=torch.device("cpu"))


@pytest.mark.slow
@pytest.mark.parametrize("figure", FIGURES)
@pytest.mark.parametrize("family", [DENSE, INCEPTION, VIT], ids=str)
def test_every_figure_has_files_and_finite_numbers(family, figure, tmp_path):
    network, images = network_and_images(family)
    made = reproduce(figure, network, images, tmp_path, settings=QUICK)
    files = made.write(tmp_path)
    assert {file.suffix for file in files} >= {".csv", ".json"}
    assert all(file.stat().st_size for file in files)
    assert made.pictures or figure == "pasted"
    for name, rows in made.tables.items():
        read = list(csv.DictReader(io.StringIO(made.contents()[f"{name}.csv"])))
        assert len(read) == len(rows) > 0, name
        for row in rows:
            numbers = {column: value for column, value in row.items() if isinstance(value, int | float)}
            # Of maps that are the same everywhere there is nothing to compare, and less than two have no interval.
            expected = {column for column in numbers if row.get("compared", 2) >= 2 or column == "compared"}
            assert all(isfinite(numbers[column]) for column in expected), (name, row)


@pytest.mark.parametrize(
    ("family", "last"),
    [(DENSE, "classifier"), (INCEPTION, "fc"), (VIT, "heads.head")],
    ids=str,
)
def test_penultimate_features_are_what_the_class_scores_are_made_of(family, last, tmp_path):
    subject = subject_of(family, tmp_path)
    head = subject.model.get_submodule(last)
    with torch.no_grad():
        expected = subject.model(subject.read(subject.mistakes)[0])
        made = head(penultimate(subject))
    torch.testing.assert_close(made, expected, rtol=1e-4, atol=1e-4)


def test_an_auxiliary_head_is_left_out_and_named(tmp_path):
    subject = subject_of(INCEPTION, tmp_path)
    assert subject.idle == ("aux.0",)
    assert "aux.0" not in subject.filters.layers
    assert "aux.0" in subject.notes[0]
    assert len(subject.raw_mistakes[0]) == len(subject.filters) == sum(subject.reference.filters.counts.values())
    assert subject_of(VIT, tmp_path).notes == []
