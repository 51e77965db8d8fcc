"""Work in pieces: resumed, shared and cut otherwise it ends with the same rows, and what changes it makes others."""

import pytest
import torch
from cases.thread_group import in_threads

from captum_paramsal.errors import CheckpointError
from captum_paramsal.reference import ProcessGroup
from captum_paramsal.reference.data_batches import LoaderItem
from captum_paramsal.reference.pieces import Pieces

PLACES = [3, 1, 4, 15, 9, 2, 6]


def rows(part):
    return {"square": torch.tensor(part) ** 2, "pair": torch.tensor(part)[:, None].expand(-1, 2).double()}


def unwanted(part):
    raise AssertionError(part)


def test_rows_come_in_the_order_of_the_places_and_once_made_they_are_read(tmp_path):
    pieces = Pieces(tmp_path, {"model": "a"}, ProcessGroup())
    made = pieces.joined("squares", PLACES, 3, rows)
    assert made["square"].tolist() == [place**2 for place in PLACES]
    assert made["pair"].shape == (7, 2)
    again = Pieces(tmp_path, {"model": "a"}, ProcessGroup()).joined("squares", PLACES, 3, unwanted)
    assert all(torch.equal(again[key], made[key]) for key in made)


def test_a_run_that_was_stopped_goes_on(tmp_path):
    pieces, done = Pieces(tmp_path, {}, ProcessGroup()), []

    def stopping(part):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(part)
        return rows(part)

    with pytest.raises(KeyboardInterrupt):
        pieces.joined("squares", PLACES, 2, stopping)
    remaining = []
    made = pieces.joined("squares", PLACES, 2, lambda part: remaining.append(part) or rows(part))
    assert made["square"].tolist() == [place**2 for place in PLACES]
    assert done + remaining == [[3, 1], [4, 15], [9, 2], [6]]


@pytest.mark.parametrize("change", [{"k": 5}, {"identity": {"model": "b"}}, {"name": "cubes"}, {"places": PLACES[:2]}])
def test_whatever_the_work_depends_on_makes_other_pieces(tmp_path, change):
    def asked(make, identity=None, name="squares", places=PLACES, k=4):
        return Pieces(tmp_path, identity or {"model": "a"}, ProcessGroup()).joined(name, places, 3, make, k=k)

    asked(rows)
    with pytest.raises(AssertionError):
        asked(unwanted, **change)


def test_shares_of_several_processes_are_the_whole(tmp_path):
    def work(group):
        calls = []
        pieces = Pieces(tmp_path, {}, group)
        return pieces.joined("squares", PLACES, 1, lambda part: calls.append(part) or rows(part)), calls

    made = in_threads(3, work)
    assert [calls for _, calls in made] == [[[3], [15], [6]], [[1], [9]], [[4], [2]]]
    assert all(joined["square"].tolist() == [place**2 for place in PLACES] for joined, _ in made)


def test_without_a_folder_nothing_is_kept_and_shares_are_the_whole_all_the_same(tmp_path):
    made = in_threads(2, lambda group: Pieces(None, {}, group).joined("squares", PLACES, 3, rows))
    assert all(joined["square"].tolist() == [place**2 for place in PLACES] for joined in made)
    assert not list(tmp_path.iterdir())


def test_a_batch_is_known_by_its_content(tmp_path):
    def kept(pixel, make, folder=tmp_path):
        batch = LoaderItem(torch.full((2, 1), pixel), torch.tensor([0, 1]))
        return Pieces(folder, {}, ProcessGroup()).kept_batch("rows", [4], batch, make)

    made = kept(1.0, lambda: rows([3, 4]))
    assert torch.equal(kept(1.0, lambda: unwanted(4))["square"], made["square"])
    with pytest.raises(AssertionError):
        kept(2.0, lambda: unwanted(4))
    with pytest.raises(AssertionError):
        kept(1.0, lambda: unwanted(4), None)


def test_a_damaged_piece_is_refused(tmp_path):
    pieces = Pieces(tmp_path, {}, ProcessGroup())
    pieces.joined("squares", PLACES, 9, rows)
    (file,) = tmp_path.iterdir()
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(CheckpointError, match="checksum"):
        pieces.joined("squares", PLACES, 9, unwanted)


def test_no_place_is_no_row(tmp_path):
    assert Pieces(tmp_path, {}, ProcessGroup()).joined("squares", [], 3, unwanted) == {}
