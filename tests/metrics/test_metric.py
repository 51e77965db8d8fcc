"""Metrics of one's own: by name, and with the old name of their baselines."""

from unittest.mock import patch

import pytest
import torch
from comparison.small_runs import small_run
from metrics.small_cases import case_of, case_with, some_images

from captum_paramsal.errors import InputError
from captum_paramsal.metrics import METRICS, Column, Deletion, Metric, metric_named, register_metric, registry


@pytest.fixture(autouse=True)
def _metrics_end_with_the_test():
    with patch.dict(registry._metrics):
        yield


class Brightness(Metric):
    """A metric of one's own."""

    name = "brightness"
    columns = (Column("brightness", "", "higher", "Made up."),)

    def score(self, case):
        return {"brightness": case.judged(case.images.mean(dim=(1, 2, 3)))}


def test_a_metric_of_ones_own_by_name():
    assert register_metric(Brightness) is Brightness
    assert isinstance(metric_named("brightness"), Brightness)
    assert list(METRICS)[-1] == "brightness"
    found = small_run(["saliency"], metrics=["brightness"])
    torch.testing.assert_close(found.column("brightness")[0], some_images()[0].mean(dim=(1, 2, 3)))


def test_a_name_taken_twice_is_refused():
    register_metric(Brightness)
    with pytest.raises(InputError, match="got brightness, which there is already"):
        register_metric(Brightness)

    class Other(Brightness):
        name = "other"

    with pytest.raises(InputError, match="got brightness, which there is already"):
        register_metric(Other)
    assert "other" not in METRICS


def test_baselines_by_their_old_name():
    case = case_with(torch.rand(1, 1, 8, 10, generator=torch.Generator().manual_seed(0)))
    metric = Deletion(steps=2)
    with pytest.warns(DeprecationWarning, match=r"`Metric.yardsticks` is now `Metric.baselines`"):
        old = metric.yardsticks(case)
    torch.testing.assert_close(old, metric.baselines(case))


def test_a_metric_that_overrides_the_old_name():
    with pytest.warns(DeprecationWarning, match=r"Old: `Metric.yardsticks` is now `Metric.baselines`"):

        class Old(Deletion):
            def yardsticks(self, case):
                with pytest.warns(DeprecationWarning, match=r"is now `Metric.baselines`"):
                    return {**super().yardsticks(case), "nothing": {"deletion": torch.zeros(len(case)).double()}}

    case = case_of(lambda inputs: inputs)
    assert list(Old(steps=2).baselines(case)) == ["random order", "nothing"]
    assert list(Old(steps=2).yardsticks(case)) == ["random order", "nothing"]
    found = small_run(["saliency"], metrics=[Old(steps=2)])
    assert found.methods == ("saliency", "random order", "nothing")
