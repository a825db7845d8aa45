import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmlayerwise.ops.sampling import (
    balanced_slices,
    bilinear_taps,
    gather_rows,
    row_products,
    scatter_rows,
)

from .bilinear_reference import interpolate

coordinates = st.floats(-3, 9, allow_nan=False, width=32)


@settings(max_examples=60, deadline=None)
@given(y=coordinates, x=coordinates)
def test_taps_interpolate_with_zeros_around_the_map(y, x):
    image = torch.arange(1.0, 41.0).view(2, 4, 5).double()
    taps = bilinear_taps(torch.tensor([y]).double(), torch.tensor([x]).double(), 4, 5)
    value = (image.flatten(1)[:, taps.cells[0]] * taps.weights[0]).sum(1)
    torch.testing.assert_close(value, interpolate(image, y, x))


@settings(max_examples=60, deadline=None)
@given(y=coordinates, x=coordinates)
def test_slopes_are_the_derivatives_of_the_weights(y, x):
    step = 1e-6
    if any(abs(value - round(value)) < 1e-3 for value in (y, x)):
        return  # a kink: the derivative depends on the side
    y, x = (torch.tensor([value]).double() for value in (y, x))
    taps = bilinear_taps(y, x, 4, 5)
    for slopes, dy, dx in ((taps.y_slopes, step, 0), (taps.x_slopes, 0, step)):
        ahead = bilinear_taps(y + dy, x + dx, 4, 5).weights
        behind = bilinear_taps(y - dy, x - dx, 4, 5).weights
        torch.testing.assert_close(slopes, (ahead - behind) / (2 * step), atol=1e-6, rtol=0)


@pytest.mark.parametrize('position', [-1.0, 4.0, float('nan'), float('inf'), -1e30])
def test_points_outside_or_undefined_weigh_nothing(position):
    taps = bilinear_taps(torch.tensor([position]), torch.tensor([1.5]), 4, 5)
    assert not any(part.any() for part in (taps.weights, taps.y_slopes, taps.x_slopes))
    assert ((taps.cells >= 0) & (taps.cells < 20)).all()


def test_gather_scatter_and_products_equal_loops():
    generator = torch.Generator().manual_seed(0)
    table = torch.randn(7, 3, generator=generator).double()
    values = torch.randn(11, 3, generator=generator).double()
    rows = torch.randint(7, (11, 4), generator=generator)
    weights = torch.rand(11, 4, generator=generator).double()
    gathered, scattered, products = torch.zeros(11, 3), torch.zeros(7, 3), torch.zeros(11, 4)
    gathered, scattered, products = gathered.double(), scattered.double(), products.double()
    for n in range(11):
        for t in range(4):
            gathered[n] += weights[n, t] * table[rows[n, t]]
            scattered[rows[n, t]] += weights[n, t] * values[n]
            products[n, t] = values[n] @ table[rows[n, t]]
    torch.testing.assert_close(gather_rows(table, rows, weights), gathered)
    torch.testing.assert_close(scatter_rows(values, rows, weights, 7), scattered)
    torch.testing.assert_close(row_products(values, table, rows), products)


def test_nothing_to_sum_gives_zeros():
    rows, weights = torch.zeros(0, 4, dtype=torch.long), torch.zeros(0, 4)
    assert gather_rows(torch.ones(5, 3), rows, weights).shape == (0, 3)
    assert torch.equal(scatter_rows(torch.ones(0, 3), rows, weights, 5), torch.zeros(5, 3))
    assert row_products(torch.ones(0, 3), torch.ones(5, 3), rows).shape == (0, 4)


@given(length=st.integers(0, 200), largest=st.integers(1, 50))
def test_balanced_slices_cover_the_range_once(length, largest):
    slices = balanced_slices(length, largest)
    assert [index for part in slices for index in range(length)[part]] == list(range(length))
    sizes = [part.stop - part.start for part in slices]
    assert all(0 < size <= largest for size in sizes)
    assert not sizes or max(sizes) - min(sizes) <= 1
