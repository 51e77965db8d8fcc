"""Every tutorial runs, and is committed without what running it leaves."""

from pathlib import Path

import nbformat
import pytest

TUTORIALS = sorted((Path(__file__).resolve().parents[2] / "tutorials").glob("*.ipynb"))
IDS = [path.stem for path in TUTORIALS]


def cells_of(path):
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]


def test_there_are_tutorials():
    assert TUTORIALS


@pytest.mark.parametrize("path", TUTORIALS, ids=IDS)
def test_committed_without_outputs(path):
    assert not [cell.id for cell in cells_of(path) if cell.outputs or cell.execution_count is not None]


# Building the docs runs every tutorial, too.
@pytest.mark.slow
@pytest.mark.parametrize("path", TUTORIALS, ids=IDS)
@pytest.mark.filterwarnings("default::DeprecationWarning", "default::pytest.PytestUnraisableExceptionWarning")
def test_runs(path, tmp_path):
    # The warnings above are Jupyter's own; those of the notebook go to the notebook.
    from nbclient import NotebookClient  # noqa: PLC0415 -- kept from the tests that need no kernel

    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": tmp_path}}).execute()
    results = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert any("image/png" in output.get("data", {}) for output in results), "no figure was drawn"
    assert not list(tmp_path.iterdir()), "the notebook left files where it ran"
