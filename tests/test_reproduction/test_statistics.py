import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from mmlayerwise.reproduction.statistics import describe, paired_difference

NUMBERS = st.floats(-100, 100, allow_nan=False)


def test_mean_and_deviation_by_hand():
    found = describe([1.0, 2.0, 3.0, 6.0])
    assert found.mean == 3
    # Squared deviations 4, 1, 0, 9 over n - 1 = 3.
    assert found.deviation == pytest.approx((14 / 3) ** 0.5)
    assert found.count == 4


def test_one_number_has_no_deviation():
    assert describe([5.0]).to_dict() == {'mean': 5.0, 'deviation': None, 'count': 1}


def test_paired_difference_by_hand():
    found = paired_difference([3.0, 5.0, 7.0], [2.0, 3.0, 4.0])
    # Differences 1, 2, 3: deviation 1, standard error 1 / sqrt(3).
    # Student's t of two degrees of freedom at 97.5 %: 4.3027.
    assert found.mean == 2
    assert found.low == pytest.approx(2 - 4.302653 / 3**0.5, abs=1e-6)
    assert found.high == pytest.approx(2 + 4.302653 / 3**0.5, abs=1e-6)
    assert found.count == 3


@given(st.lists(st.tuples(NUMBERS, NUMBERS), min_size=2, max_size=12), st.sampled_from([0.9, 0.95]))
def test_the_interval_is_that_of_scipy(pairs, confidence):
    values, baseline = zip(*pairs, strict=True)
    found = paired_difference(values, baseline, confidence)
    differences = [one - other for one, other in pairs]
    assert found.low <= found.mean <= found.high
    if np.std(differences) > 1e-6:
        test = stats.ttest_rel(values, baseline)
        low, high = test.confidence_interval(confidence)
        assert (found.low, found.high) == pytest.approx((low, high), abs=1e-6)
        assert found.p_value == pytest.approx(test.pvalue, abs=1e-9)


def test_one_pair_has_no_interval():
    found = paired_difference([2.0], [1.5])
    assert (found.mean, found.low, found.high, found.p_value) == (0.5, None, None, None)


def test_differences_without_spread_have_no_p_value():
    found = paired_difference([2.0, 3.0], [1.0, 2.0])
    assert (found.low, found.high, found.p_value) == (1.0, 1.0, None)


@pytest.mark.parametrize(('values', 'baseline'), [([], []), ([1.0, 2.0], [1.0, 2.0, 3.0])])
def test_numbers_without_partner_are_refused(values, baseline):
    with pytest.raises(ValueError, match=r'pairs|broadcast'):
        paired_difference(values, baseline)
