from math import sqrt

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmlayerwise.separation.errors import SeparationError
from mmlayerwise.separation.significance import (
    Difference,
    SignificanceTest,
    paired_difference,
)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=2, max_size=40))
@settings(max_examples=50, deadline=None)
def test_paired_difference_is_that_of_numpy(pairs):
    before, after = np.array(pairs).T
    found = paired_difference(torch.tensor(before), torch.tensor(after))
    steps = after.astype(float) - before.astype(float)
    assert found.gain == pytest.approx(steps.mean())
    assert found.standard_error == pytest.approx(steps.std(ddof=1) / sqrt(len(steps)))
    assert found.num_samples == len(pairs)


def test_only_common_samples_are_compared():
    before, after = torch.tensor([True, False, True]), torch.tensor([True, True, False])
    found = paired_difference(before, after, torch.tensor([1, 2, 5]), torch.tensor([2, 5, 7]))
    # Sample 2: False -> True; sample 5: True -> True.
    assert found.gain == 0.5
    assert found.num_samples == 2


def test_too_few_common_samples_are_refused():
    with pytest.raises(SeparationError, match='at least 2; got 1'):
        paired_difference(torch.ones(2), torch.ones(2), torch.tensor([1, 2]), torch.tensor([2, 3]))


@pytest.mark.parametrize(
    ('gain', 'error', 'rises'),
    [(0.006, 0.001, True), (0.004, 0.001, False), (0.02, 0.02, False), (0.04, 0.02, True)],
)
def test_threshold_is_the_larger_of_both(gain, error, rises):
    test = SignificanceTest(least=0.005, z=1.64)
    assert test.rises(Difference(gain, error, 100)) is rises
    assert test.drops(Difference(-gain, error, 100)) is rises
    assert not test.drops(Difference(gain, error, 100))


def test_thresholds_can_be_set():
    difference = Difference(0.02, 0.005, 100)
    assert SignificanceTest().rises(difference)
    assert not SignificanceTest(least=0.03).rises(difference)
    assert not SignificanceTest(z=5).rises(difference)
    with pytest.raises(SeparationError, match='must not be negative'):
        SignificanceTest(z=-1)
