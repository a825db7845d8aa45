import pytest
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope

from mmlayerwise.utils.meta_device import meta_device

pytest.importorskip('mmseg')


@pytest.mark.parametrize(
    ('config', 'total', 'statistics'),
    [
        ('configs/compression/unet-16-256_1xb8-40k_camvid-352x352.py', 1_946_756, 2_944),
        ('configs/simple_unet/unet-16-64_1xb8-40k_camvid-352x352.py', 155_268, 768),
    ],
)
def test_published_number_of_parameters(config, total, statistics):
    cfg = Config.fromfile(config)
    cfg.model.backbone.in_channels, cfg.model.decode_head.num_classes = 1, 4
    init_default_scope('mmseg')
    with meta_device():
        model = MODELS.build(cfg.model)
    buffers = sum(b.numel() for name, b in model.named_buffers() if 'running' in name)
    assert sum(p.numel() for p in model.parameters()) + buffers == total
    assert buffers == statistics
