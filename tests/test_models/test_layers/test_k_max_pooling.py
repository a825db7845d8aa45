import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmlayerwise.models.layers import HalvingKMaxPooling, k_max_pool
from mmlayerwise.utils.errors import UserError


def k_max_one_by_one(values: list[float], k: int) -> list[float]:
    """Strike out the smallest value, the last among equals, until k are left."""
    values = list(values)
    while len(values) > k:
        smallest = min(values)
        del values[len(values) - 1 - values[::-1].index(smallest)]
    return values


@given(st.data())
def test_keeps_the_largest_in_their_order_and_the_earlier_of_equal_ones(data):
    length = data.draw(st.integers(1, 12))
    rows = data.draw(
        st.lists(st.lists(st.integers(-2, 2), min_size=length, max_size=length), min_size=1)
    )
    k = data.draw(st.integers(1, length))
    pooled = k_max_pool(torch.tensor([rows], dtype=torch.float64), k)
    assert pooled[0].tolist() == [k_max_one_by_one(row, k) for row in rows]


def test_the_gradient_goes_to_the_kept_values():
    features = torch.tensor([[[3.0, 0.0, 5.0, 0.0, 4.0]]], requires_grad=True)
    (k_max_pool(features, 3) * torch.tensor([1.0, 2.0, 3.0])).sum().backward()
    assert features.grad.tolist() == [[[1.0, 0.0, 2.0, 0.0, 3.0]]]


@pytest.mark.parametrize('shape', [(1, 2, 7), (2, 7)])
def test_too_short_sequences_are_refused(shape):
    with pytest.raises(UserError, match=r'8-max pooling takes .* L >= 8.*longer'):
        k_max_pool(torch.zeros(shape), 8)


@pytest.mark.parametrize(('length', 'half'), [(1, 1), (6, 3), (7, 4)])
def test_half_the_length_rounded_up(length, half):
    features = torch.arange(float(length)).expand(1, 2, -1)
    pooled = HalvingKMaxPooling()(features)
    assert pooled[0, 1].tolist() == list(range(length - half, length))
