"""One parameter for every class of ``attr/``, one for every sample that it can take."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from operator import itemgetter
from typing import Any
from zlib import crc32

import pytest
from captum.attr import Attribution
from contract.closeness import joined
from contract.registry import ENTRIES, Entry, built, built_for
from contract.samples import SAMPLES, Sample
from torch import Tensor


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Of a class or door with what it is tried with, one pair in three is tried by default; which, the test decides.

    And those by which each value of every parameter has its turn in each test.
    """
    pairs: defaultdict[str, list[pytest.Item]] = defaultdict(list)
    for item in items:
        parameters = getattr(getattr(item, "callspec", None), "params", {})
        if len(parameters) < 2 or not {"entry", "door"} & parameters.keys() or "row" in parameters:
            continue
        if "contract" in item.path.parts and not item.get_closest_marker("slow"):
            pairs[item.nodeid.partition("[")[0]].append(item)
    for name, of_a_test in pairs.items():
        # Parameters that are given together have one index for both, so values are counted here.
        numbers: defaultdict[str, dict[int, int]] = defaultdict(dict)
        numbered = []
        for item in of_a_test:
            values = {p: numbers[p].setdefault(id(v), len(numbers[p])) for p, v in item.callspec.params.items()}
            numbered.append(((sum(values.values()) + crc32(name.encode())) % 3, item, set(values.items())))
        seen: set[tuple[str, int]] = set()
        for turn, item, values in sorted(numbered, key=itemgetter(0)):
            if turn and values <= seen:
                item.add_marker(pytest.mark.slow)
            seen |= values


@pytest.fixture(
    params=[pytest.param(one, id=str(one), marks=[pytest.mark.slow] if one.slow else []) for one in ENTRIES]
)
def entry(request: pytest.FixtureRequest) -> Entry:
    return request.param


@pytest.fixture
def sample() -> Sample:
    """The plainest one; every class takes it."""
    return SAMPLES["small"]()


@pytest.fixture
def kept(entry: Entry) -> Sample:
    """The same, for tests that leave the model as it is: its attribution has been built and used by those before."""
    return built(entry.name, "small")[0]


@pytest.fixture(params=SAMPLES)
def any_sample(request: pytest.FixtureRequest, entry: Entry) -> Sample:
    if request.param in entry.excluded:
        pytest.skip(f"{entry}: {entry.excluded[request.param]}")
    return built(entry.name, request.param)[0]


@pytest.fixture
def attribute(entry: Entry) -> Callable[..., Tensor]:
    """Builds the entry for a sample, once in a test, and calls it; the answer as one tensor, several side by side.

    For a sample of ``built``, it is the attribution that stands there.
    """
    known: list[tuple[Sample, Attribution]] = []

    def attribution_for(sample: Sample) -> Attribution:
        kept = built_for(sample) or next((one for of, one in known if of is sample), None)
        if kept is not None:
            return kept
        known.append((sample, entry.build(sample)))
        return known[-1][1]

    def call(sample: Sample, **changes: Any) -> Tensor:
        attribution = attribution_for(sample)
        return joined(attribution.attribute(**{**sample.arguments(), **changes}))

    return call
