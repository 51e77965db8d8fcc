import os
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[1]

# Tests side by side share the processors.
if "PYTEST_XDIST_WORKER_COUNT" in os.environ:
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // int(os.environ["PYTEST_XDIST_WORKER_COUNT"])))


@pytest.fixture(scope="session")
def paramsal_data() -> Path:
    """Folder of the real models and labelled images; the test is skipped where it is absent."""
    folder = Path(os.environ.get("PARAMSAL_DATA", ROOT.parent / "shared" / "data"))
    if not (folder / "models").is_dir():
        pytest.skip(f"no real models and images at {folder} (set PARAMSAL_DATA)")
    return folder
