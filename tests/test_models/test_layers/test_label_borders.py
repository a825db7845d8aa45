import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mmlayerwise.models.layers.label_borders import label_borders

VOID = 255
LABELS = arrays(
    np.int64,
    st.tuples(st.just(2), st.integers(1, 7), st.integers(1, 7)),
    elements=st.sampled_from([0, 1, 20, VOID]),
    fill=st.sampled_from([0, VOID]),
)


def mark(labels, width):
    """By the set of labels in each window, pixel by pixel."""
    marked, reach = np.empty_like(labels), width // 2
    for row, column in np.ndindex(labels.shape):
        window = labels[max(0, row - reach) : row + reach + 1]
        found = set(window[:, max(0, column - reach) : column + reach + 1].flat)
        marked[row, column] = VOID if found == {VOID} else len(found) > 1
    return marked


@given(LABELS, st.sampled_from([1, 3, 5]))
def test_borders_are_pixels_with_another_label_nearby(labels, width):
    expected = np.stack([mark(one, width) for one in labels])
    actual = label_borders(torch.from_numpy(labels), width)
    assert actual.dtype == torch.int64
    np.testing.assert_array_equal(actual.numpy(), expected)


def test_outlines_without_a_label_are_borders():
    labels = torch.tensor([[[0, 0, 0, VOID, 1, 1, 1]]])
    assert label_borders(labels, 3).flatten().tolist() == [0, 0, 1, 1, 1, 0, 0]
