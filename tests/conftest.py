import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def paramsal_data() -> Path:
    """Folder of the real models and labelled images; the test is skipped where it is absent."""
    folder = Path(os.environ.get("PARAMSAL_DATA", ROOT.parent / "shared" / "data"))
    if not (folder / "models").is_dir():
        pytest.skip(f"no real models and images at {folder} (set PARAMSAL_DATA)")
    return folder
