"""Files of a report that are not as they were written: the same content, or one clear error."""

import numpy as np
import pytest
from cases.undrawn import undrawn
from report.every_kind import KINDS, strange_report

from captum_paramsal import ParamsalError
from captum_paramsal.report.shared.codec import to_json

pytestmark = pytest.mark.filterwarnings("ignore:Glyph")


@pytest.fixture(scope="module", params=KINDS)
def written(request, tmp_path_factory):
    report = strange_report(request.param)
    folder = tmp_path_factory.mktemp(request.param)
    with undrawn():
        report.write(folder)
    return type(report), report, folder


def _content(report):
    gradients = getattr(report, "pixel_gradients", {})
    return to_json(report.to_dict()), {position: tensor.tolist() for position, tensor in gradients.items()}


def _torture(written, flips, ends):
    """How many of the damaged files were refused."""
    kind, _, folder = written
    expected, draw, refused = _content(kind.load(folder)), np.random.default_rng(0), 0
    for path in [folder / kind.data_file, *folder.glob("*.safetensors")]:
        whole = path.read_bytes()
        for number in range(flips + ends):
            place = int(draw.integers(len(whole)))
            flipped = whole[:place] + bytes([whole[place] ^ 1 << int(draw.integers(8))]) + whole[place + 1 :]
            path.write_bytes(flipped if number < flips else whole[:place])
            try:
                loaded = kind.load(folder)
            except ParamsalError:
                refused += 1
            else:
                assert _content(loaded) == expected, (path.name, number, place)
        path.write_bytes(whole)
    return refused


def test_a_damaged_file_is_refused_or_says_the_same(written):
    assert _torture(written, flips=25, ends=5) >= 25


@pytest.mark.slow
def test_many_damaged_files_are_refused_or_say_the_same(written):
    assert _torture(written, flips=300, ends=50) >= 300


def test_a_letter_of_the_checksum_or_of_its_key_is_noticed(written):
    kind, _, folder = written
    path = folder / kind.data_file
    whole = path.read_bytes()
    start = whole.rindex(b"checksum")
    for place in [*range(start, start + 8), *range(start + 12, start + 44)]:
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(ParamsalError, match="does not match its checksum"):
            kind.load(folder)
    path.write_bytes(whole)
    assert kind.load(folder)


def test_files_of_two_reports_are_never_read_as_one(written, tmp_path):
    kind, _, folder = written
    if not list(folder.glob("*.safetensors")):
        pytest.skip("has one file of data")
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    other = next(iter(tmp_path.glob("*.safetensors")))
    other.write_bytes(other.read_bytes() + b" ")
    with pytest.raises(ParamsalError, match="that is damaged, or that another report was written with"):
        kind.load(tmp_path)
