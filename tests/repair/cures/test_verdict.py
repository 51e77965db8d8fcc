import numpy as np
import pytest
import torch
from scipy.stats import binomtest

from captum_paramsal.errors import InputError
from captum_paramsal.repair import AcceptanceRule


def flags(hits, count):
    return torch.arange(count) < hits


@pytest.mark.parametrize(
    ("cured", "mistakes", "broken", "right", "status"),
    [
        (6, 6, 0, 100, "kept"),
        (5, 5, 0, 100, "refused"),
        (6, 60, 1, 100, "refused"),
        (12, 60, 1, 200, "kept"),
        (12, 60, 1, 199, "refused"),
        (0, 60, 0, 100, "refused"),
        (20, 60, 10, 4000, "refused"),
        (30, 60, 10, 4000, "kept"),
    ],
)
def test_the_rule_by_hand(cured, mistakes, broken, right, status):
    verdict = AcceptanceRule().judge(flags(cured, mistakes), flags(broken, right))
    assert verdict.status == status
    assert verdict.reason.startswith({"kept": "Kept: ", "refused": "Refused: "}[status])
    if cured + broken:
        assert verdict.p_value == pytest.approx(binomtest(cured, cured + broken).pvalue)


def test_what_breaks_more_than_it_cures_is_not_called_chance():
    reason = AcceptanceRule(most_broken=1.0).judge(flags(3, 60), flags(60, 100)).reason
    assert reason.endswith("broke 60 of 100 right images: it cures no more than it breaks.")
    assert "p = 0.25, above 0.05" in AcceptanceRule().judge(flags(3, 60), flags(0, 100)).reason


def test_a_least_share_can_be_asked_for():
    assert AcceptanceRule(least_cured=0.5).judge(flags(20, 60), flags(0, 100)).status == "refused"


@pytest.mark.parametrize("name", ["level", "most_broken", "least_cured"])
def test_shares_are_shares(name):
    with pytest.raises(InputError, match=f"Expected `{name}` from 0 to 1, got 1.5"):
        AcceptanceRule(**{name: 1.5})


def test_what_cures_as_often_as_it_breaks_is_hardly_ever_kept():
    rng = np.random.default_rng(0)
    rule = AcceptanceRule(most_broken=1.0)
    kept = 0
    for _ in range(2000):
        changed = rng.binomial(200, 0.1)
        cured = rng.binomial(changed, 0.5)
        kept += rule.judge(flags(cured, 200), flags(changed - cured, 200)).status == "kept"
    # Two-sided at 5 %, so at most 2.5 % of what is no better is kept.
    assert kept / 2000 < 0.025 + 3 * np.sqrt(0.025 * 0.975 / 2000)


def test_intervals_are_there_only_with_images():
    verdict = AcceptanceRule().judge(flags(6, 12), flags(0, 100))
    low, high = verdict.cured_interval
    assert low < 0.5 < high
    assert verdict.broken_interval[0] == 0.0
