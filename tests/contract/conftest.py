"""One parameter for every class of ``attr/``, one for every sample that it can take."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from captum.attr import Attribution
from contract.closeness import joined
from contract.registry import ENTRIES, Entry
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


@pytest.fixture(params=SAMPLES)
def any_sample(request: pytest.FixtureRequest, entry: Entry) -> Sample:
    if request.param in entry.excluded:
        pytest.skip(f"{entry}: {entry.excluded[request.param]}")
    return SAMPLES[request.param]()


@pytest.fixture
def attribute(entry: Entry) -> Callable[..., Tensor]:
    """Builds the entry for a sample, once in a test, and calls it; the answer as one tensor, several side by side."""
    built: list[tuple[Sample, dict[str, Any], Attribution]] = []

    def call(sample: Sample, *, options: dict[str, Any] | None = None, **changes: Any) -> Tensor:
        known = [one for of, with_options, one in built if of is sample and with_options == (options or {})]
        attribution = known[0] if known else entry.build(sample, **(options or {}))
        if not known:
            built.append((sample, options or {}, attribution))
        return joined(attribution.attribute(**{**sample.arguments(), **changes}))

    return call
