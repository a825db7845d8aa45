from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

pytest.importorskip('mmseg')

from mmengine import Config
from mmengine.registry import MODELS, DefaultScope

from mmlayerwise.models.backbones import SegmentationVGG
from mmlayerwise.models.decode_heads.segnet_head import SegNetHead
from mmlayerwise.models.layers import PoolingSwitches
from mmlayerwise.utils.errors import UserError
from mmlayerwise.utils.meta_device import meta_device

CONFIG = (
    Path(__file__)
    .parents[3]
    .joinpath('configs', 'segnet', 'segnet_vgg16-bn_1xb12-40k_camvid-480x360.py')
)
STAGES = ((16, 16, 16), (16, 16, 8), (8, 8, 4), (4, 2), (2,))


@pytest.mark.parametrize(
    ('num_classes', 'parameters'), [(11, 29_449_355), (12, 29_449_932), (21, 29_455_125)]
)
def test_parameters_are_the_published_ones(num_classes, parameters):
    model = Config.fromfile(CONFIG).model
    model.decode_head.num_classes = num_classes
    with DefaultScope.overwrite_default_scope('mmseg'), meta_device():
        segmentor = MODELS.build(model)
    assert sum(p.numel() for p in segmentor.parameters()) == parameters


@pytest.mark.parametrize('size', [(32, 32), (37, 45)])
def test_scores_have_the_size_of_the_image_and_train_everything(size):
    torch.manual_seed(0)
    trunk = SegmentationVGG(
        with_bn=True, out_indices=(4,), fc_channels=(), return_switches=True, widen_factor=1 / 32
    )
    head = SegNetHead(16, STAGES, num_classes=3)
    for module in (trunk, head):
        module.init_weights()
    scores = head(trunk(torch.randn(2, 3, *size)))
    assert scores.shape == (2, 3, *size)
    scores.square().mean().backward()
    parameters = [*trunk.parameters(), *head.parameters()]
    assert all(p.grad is not None and p.grad.isfinite().all() for p in parameters)


def test_stage_is_unpooling_and_convolution():
    torch.manual_seed(0)
    head = SegNetHead(2, ((3,),), num_classes=4).double().eval()
    pooled, indices = F.max_pool2d(torch.randn(1, 2, 6, 8).double(), 2, return_indices=True)
    sparse = torch.zeros(1, 2, 48).double().scatter(2, indices.flatten(2), pooled.flatten(2))
    layer = head.stages[0][0]
    hidden = F.conv2d(sparse.reshape(1, 2, 6, 8), layer.conv.weight, layer.conv.bias, padding=1)
    # Fresh running statistics: mean 0 and variance 1.
    hidden = (hidden / (1 + layer.bn.eps) ** 0.5).relu()
    expected = F.conv2d(hidden, head.conv_seg.weight, head.conv_seg.bias, padding=1)
    actual = head((pooled, (PoolingSwitches(indices, (6, 8)),)))
    torch.testing.assert_close(actual, expected)


@pytest.mark.parametrize('last', [torch.zeros(1, 16, 1, 1), ()])
def test_missing_switches_are_named(last):
    head = SegNetHead(16, STAGES, num_classes=3)
    with pytest.raises(UserError, match='needs the switches of 5 poolings'):
        head((torch.zeros(1, 16, 1, 1), last))
