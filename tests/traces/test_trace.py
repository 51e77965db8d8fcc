"""What a trace says of itself."""

import pytest
import torch

from captum_paramsal import Trace


def test_the_old_name_of_the_labels_is_read_with_a_warning():
    trace = Trace(layers={}, labels=torch.tensor([2, 0]), shape=(2, 3, 8, 8))
    with pytest.warns(DeprecationWarning, match=r"`Trace.targets` is now `Trace.labels`"):
        assert trace.targets is trace.labels
