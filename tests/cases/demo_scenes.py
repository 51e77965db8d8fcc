"""The demo's scenes, each set of them painted once in a process."""

from collections.abc import Iterator
from copy import deepcopy
from functools import cache

import pytest

from captum_paramsal.demo import scenes

_painted = cache(scenes.make_scenes)


def _copied(n: int, **options: float) -> scenes.Scenes:
    # Copies, so that what a test does to its scenes is its own affair.
    return deepcopy(_painted(n, **options))


@pytest.fixture(scope="module", autouse=True)
def scenes_painted_once() -> Iterator[None]:
    """Import it into a conftest whose tests run the demo often; painting takes most of a second each time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scenes, "make_scenes", _copied)
        yield
