"""One parameter for every class of ``attr/``, one for every sample that it can take."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from contract.closeness import joined
from contract.registry import ENTRIES, Entry
from contract.samples import SAMPLES, Sample
from torch import Tensor


@pytest.fixture(params=ENTRIES, ids=str)
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
    """Builds the entry for a sample and calls it; the answer as one tensor, several side by side."""

    def call(sample: Sample, *, options: dict[str, Any] | None = None, **changes: Any) -> Tensor:
        attribution = entry.build(sample, **(options or {}))
        return joined(attribution.attribute(**{**sample.arguments(), **changes}))

    return call
