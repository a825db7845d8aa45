import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from mmlayerwise.models.layers import MaxUnpool, PoolingSwitches


def pool(inputs: torch.Tensor, ceil_mode: bool) -> tuple[torch.Tensor, PoolingSwitches]:
    pooled, indices = F.max_pool2d(inputs, 2, 2, ceil_mode=ceil_mode, return_indices=True)
    return pooled, PoolingSwitches(indices, tuple(inputs.shape[2:]))


@given(
    height=st.integers(2, 9),
    width=st.integers(2, 9),
    ceil_mode=st.booleans(),
    seed=st.integers(0, 99),
)
@settings(max_examples=25, deadline=None)
def test_maxima_return_to_their_places(height, width, ceil_mode, seed):
    generator = torch.Generator().manual_seed(seed)
    # All values differ, so that a window has one maximum.
    inputs = torch.randperm(2 * 3 * height * width, generator=generator).double() + 1
    inputs = inputs.reshape(2, 3, height, width)
    pooled, switches = pool(inputs, ceil_mode)
    unpooled = MaxUnpool()(pooled, switches)

    expected = torch.zeros_like(inputs)
    rows, columns = range(0, height, 2), range(0, width, 2)
    for y in rows:
        for x in columns:
            window = inputs[:, :, y : y + 2, x : x + 2]
            if not ceil_mode and window[0, 0].numel() < 4:
                continue
            maximum = window.amax((2, 3), keepdim=True)
            expected[:, :, y : y + 2, x : x + 2] = window * (window == maximum)
    assert torch.equal(unpooled, expected)
    assert torch.equal(pool(unpooled, ceil_mode)[0], pooled)


@pytest.mark.parametrize('size', [(4, 6), (5, 3)])
def test_gradient_flows_from_the_maxima_alone(size):
    inputs = torch.randn(1, 2, *size, dtype=torch.float64, requires_grad=True)

    def restore(values: torch.Tensor) -> torch.Tensor:
        return MaxUnpool()(*pool(values, ceil_mode=True))

    assert torch.autograd.gradcheck(restore, inputs, eps=1e-7, atol=1e-5)
