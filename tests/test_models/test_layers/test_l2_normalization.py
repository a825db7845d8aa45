import pytest
import torch

from mmlayerwise.models.layers import L2Normalization


def test_every_location_has_the_norm_of_the_scale():
    outputs = L2Normalization(6, scale=10.0)(torch.randn(2, 6, 3, 4))
    torch.testing.assert_close(outputs.norm(dim=1), torch.full((2, 3, 4), 10.0))


@pytest.mark.parametrize('factor', [0.01, 1000.0])
def test_scale_of_the_input_does_not_matter(factor):
    layer, inputs = L2Normalization(6), torch.randn(2, 6, 3, 4)
    torch.testing.assert_close(layer(factor * inputs), layer(inputs))


def test_gradient_is_the_papers():
    torch.manual_seed(0)
    x = torch.randn(5, dtype=torch.float64, requires_grad=True)
    layer = L2Normalization(5).double()
    layer.weight.data.uniform_(1, 3)
    upstream = torch.randn(5, dtype=torch.float64)
    layer(x.reshape(1, 5, 1, 1)).flatten().backward(upstream)

    norm = x.detach().norm()
    unit = x.detach() / norm
    jacobian = (torch.eye(5, dtype=torch.float64) - torch.outer(unit, unit)) / norm
    # The layer computes in float32.
    expected = jacobian @ (layer.weight.detach() * upstream)
    torch.testing.assert_close(x.grad, expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(layer.weight.grad, upstream * unit, rtol=1e-5, atol=1e-6)


def test_no_features_give_zeros_and_finite_gradients():
    x = torch.zeros(1, 4, 1, 1, requires_grad=True)
    outputs = L2Normalization(4)(x)
    outputs.sum().backward()
    assert not outputs.any()
    assert x.grad.isfinite().all()


def test_half_precision_does_not_overflow():
    outputs = L2Normalization(4)(torch.full((1, 4, 1, 1), 60000.0, dtype=torch.float16))
    assert outputs.dtype == torch.float16
    torch.testing.assert_close(outputs.flatten(), torch.full((4,), 5.0, dtype=torch.float16))
