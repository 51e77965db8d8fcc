import gc
import os
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from zlib import crc32

import pytest
from hypothesis import settings

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent

# Tests side by side share the processors. In the environment, before anything loads PyTorch, it holds for the
# libraries that count threads by themselves, and for the processes that tests start.
if "PYTEST_XDIST_WORKER_COUNT" in os.environ:
    share = max(1, (os.cpu_count() or 1) // int(os.environ["PYTEST_XDIST_WORKER_COUNT"]))
    os.environ.setdefault("OMP_NUM_THREADS", str(share))

# A report says when it was written; here at one time, so that the same report is the same bytes.
os.environ.setdefault("SOURCE_DATE_EPOCH", "1700000000")


# As many inputs as find what is wrong with a law; `--hypothesis-profile many` looks for what is rare.
settings.register_profile("few", max_examples=30)
settings.register_profile("many", max_examples=500)
settings.load_profile("few")


@pytest.fixture(scope="session")
def paramsal_data() -> Path:
    """Folder of the real models and labelled images; the test is skipped where it is absent."""
    folder = Path(os.environ.get("PARAMSAL_DATA", ROOT.parent / "shared" / "data"))
    if not (folder / "models").is_dir():
        pytest.skip(f"no real models and images at {folder} (set PARAMSAL_DATA)")
    return folder


@pytest.fixture
def undrawn() -> Iterator[None]:
    """For tests of what a report says and leaves, not of its figures: these are put together, and not drawn."""
    from cases.undrawn import undrawn  # noqa: PLC0415 -- most tests need no matplotlib

    with undrawn():
        yield


MANY = 4
"""Cases of a test from which on every second one is slow."""

WHOLE = ("contract", "docs", "files")
"""Folders whose tests say for themselves what is slow."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Of a test with four cases or more, every second one is slow; of a grid, as the fields of a chessboard.

    So every value of a grid has its turn by default, and each test decides with which half it is.
    """
    cases: defaultdict[str, list[pytest.Item]] = defaultdict(list)
    for item in items:
        numbered = hasattr(item, "callspec") and item.callspec.indices and not item.get_closest_marker("slow")
        if numbered and item.path.is_relative_to(HERE) and item.path.relative_to(HERE).parts[0] not in WHOLE:
            cases[item.nodeid.partition("[")[0]].append(item)
    for name, of_a_test in cases.items():
        if len(of_a_test) < MANY:
            continue
        # Parameters that are given together have one number.
        places = [sum(set(item.callspec.indices.values())) + crc32(name.encode()) for item in of_a_test]
        if len({place % 2 for place in places}) == 1:
            places = list(range(len(of_a_test)))
        for place, item in zip(places, of_a_test, strict=True):
            if place % 2:
                item.add_marker(pytest.mark.slow)


def pytest_collectstart() -> None:
    """Look for no garbage while tests are collected: what is made stays, and there is more of it every time."""
    gc.disable()


def pytest_collection_finish() -> None:
    """Keep what the collection made, which lives to the end, out of the garbage collector's rounds.

    Each full round over every module and test takes half a second, and a run has dozens; the short rounds, one for
    every 700 objects by default, took a twentieth of a run.
    """
    gc.collect()
    gc.freeze()
    gc.enable()
    gc.set_threshold(20_000)
