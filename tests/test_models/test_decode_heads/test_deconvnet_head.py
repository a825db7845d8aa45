import pytest
import torch
import torch.nn.functional as F

pytest.importorskip('mmseg')

from mmlayerwise.models.backbones import SegmentationVGG
from mmlayerwise.models.decode_heads.deconvnet_head import DeconvNetHead
from mmlayerwise.models.layers import BiasedConvTranspose2d, PoolingSwitches
from mmlayerwise.utils.errors import UserError
from mmlayerwise.utils.meta_device import meta_device

STAGES = ((16, 16, 16), (16, 16, 8), (8, 8, 4), (4, 2), (2, 2))
ENCODER = dict(with_bn=True, return_switches=True, dropout_ratio=0.0)
TINY = dict(**ENCODER, widen_factor=1 / 32, fc_channels=(12, 12))


@pytest.mark.parametrize(('num_classes', 'parameters'), [(21, 251_805_653), (11, 251_805_003)])
def test_parameters(num_classes, parameters):
    with meta_device():
        trunk, head = SegmentationVGG(**ENCODER), DeconvNetHead(num_classes=num_classes)
    count = sum(p.numel() for module in (trunk, head) for p in module.parameters())
    # The paper speaks of 252 million.
    assert count == parameters


def test_layers_are_the_papers():
    """Sizes of table 1, with the classes of PASCAL VOC."""
    with meta_device():
        trunk, head = SegmentationVGG(**ENCODER).eval(), DeconvNetHead(num_classes=21).eval()
    sizes = []
    layers = [*head.fc_deconv, *(layer for stage in head.stages for layer in stage)]
    for layer in layers:
        layer.register_forward_hook(lambda _m, _i, output: sizes.append(tuple(output.shape[1:])))
        assert isinstance(layer.conv, BiasedConvTranspose2d)
        assert layer.conv.bias is not None
        assert layer.with_norm
        assert layer.with_activation
    features, switches = trunk(torch.zeros(2, 3, 224, 224, device='meta'))
    assert features.shape[1:] == (4096, 1, 1)
    assert head((features, switches)).shape == (2, 21, 224, 224)
    assert sizes == [
        (512, 7, 7),
        *3 * [(512, 14, 14)],
        *2 * [(512, 28, 28)], (256, 28, 28),
        *2 * [(256, 56, 56)], (128, 56, 56),
        (128, 112, 112), (64, 112, 112),
        *2 * [(64, 224, 224)],
    ]  # fmt: skip


@pytest.mark.parametrize('size', [(224, 224), (197, 227)])
def test_scores_have_the_size_of_the_image_and_train_everything(size):
    torch.manual_seed(0)
    trunk = SegmentationVGG(**TINY)
    head = DeconvNetHead(12, STAGES, num_classes=3)
    for module in (trunk, head):
        module.init_weights()
    scores = head(trunk(torch.randn(2, 3, *size)))
    assert scores.shape == (2, 3, *size)
    scores.square().mean().backward()
    parameters = [*trunk.parameters(), *head.parameters()]
    assert all(p.grad is not None and p.grad.isfinite().all() for p in parameters)


def test_filters_start_as_small_noise():
    torch.manual_seed(0)
    head = DeconvNetHead(64, STAGES, num_classes=3)
    head.init_weights()
    weight = head.fc_deconv[0].conv.weight
    assert weight.std().item() == pytest.approx(0.01, rel=0.05)
    assert abs(weight.mean().item()) < 1e-3
    assert not head.fc_deconv[0].conv.bias.any()
    assert head.conv_seg.weight.std().item() == pytest.approx(0.01, rel=0.9)


def place(features: torch.Tensor, weight: torch.Tensor, padding: int) -> torch.Tensor:
    """A transposed convolution of stride 1: every input puts its filter into the output."""
    side = weight.shape[-1]
    height, width = features.shape[2:]
    output = features.new_zeros(1, weight.shape[1], height + side - 1, width + side - 1)
    for i in range(height):
        for j in range(width):
            output[..., i : i + side, j : j + side] += torch.einsum(
                'ni,iokl->nokl', features[..., i, j], weight
            )
    return output[..., padding : padding + height, padding : padding + width] if padding else output


def test_equals_the_definition():
    torch.manual_seed(0)
    head = DeconvNetHead(3, ((2, 4),), fc_kernel_size=3, num_classes=5).double().eval()
    for parameter in head.parameters():
        torch.nn.init.normal_(parameter)
    fc7 = torch.randn(1, 3, 1, 2).double()
    pooled_from = torch.randn(1, 2, 6, 8).double()
    _, indices = F.max_pool2d(pooled_from, 2, return_indices=True)

    def rest(layer: torch.nn.Module, summed: torch.Tensor) -> torch.Tensor:
        # Fresh running statistics: mean 0 and variance 1.
        summed = (summed + layer.conv.bias[:, None, None]) / (1 + layer.bn.eps) ** 0.5
        return (summed * layer.bn.weight[:, None, None] + layer.bn.bias[:, None, None]).relu()

    hidden = rest(head.fc_deconv[0], place(fc7, head.fc_deconv[0].conv.weight, 0))
    sparse = torch.zeros(1, 2, 48).double()
    sparse.scatter_(2, indices.flatten(2), hidden.flatten(2))
    hidden = sparse.reshape(1, 2, 6, 8)
    for layer in head.stages[0]:
        hidden = rest(layer, place(hidden, layer.conv.weight, 1))
    expected = torch.einsum('oi,nihw->nohw', head.conv_seg.weight[..., 0, 0], hidden)
    expected = expected + head.conv_seg.bias[:, None, None]
    actual = head((fc7, (PoolingSwitches(indices, (6, 8)),)))
    torch.testing.assert_close(actual, expected)


def test_too_small_image_is_refused_with_the_smallest_size_that_works():
    trunk = SegmentationVGG(**TINY)
    assert trunk.smallest_input == 193
    with pytest.raises(UserError, match=r'200x192 pixels.*at least 193x193'):
        trunk(torch.zeros(1, 3, 192, 200))
