"""One parameter for every class of ``attr/``, one for every sample that it can take."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from captum.attr import Attribution
from contract.closeness import joined
from contract.registry import ENTRIES, Entry, built, built_for
from contract.samples import SAMPLES, Sample
from torch import Tensor


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
