from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope

from mmlayerwise.compression.apply import apply_plan
from mmlayerwise.compression.flops import measure_cost
from mmlayerwise.compression.plan import CompressionPlan, fingerprint
from mmlayerwise.utils.meta_device import meta_device

pytest.importorskip('mmseg')

REDUCED = sorted(Path('configs/compression').glob('*_reduced.py'))


def build(path: str | Path):
    cfg = Config.fromfile(path)
    init_default_scope(cfg.get('default_scope', 'mmseg'))
    return MODELS.build(cfg.model)


def build_on_meta(path: str | Path):
    with meta_device():
        return build(path)


@pytest.mark.parametrize(
    ('path', 'side', 'parameters', 'flops', 'published'),
    [
        ('vgg/vgg16_1xb128-200e_cifar10', 32, 15_253_578, 313_725_952, '313.7 M'),
        ('googlenet/googlenet_1xb128-200e_cifar10', 32, 6_158_346, 1_521_756_160, '1.52 G'),
    ],
)
def test_base_models_cost_what_is_published(path, side, parameters, flops, published):
    cost = measure_cost(build_on_meta(f'configs/{path}.py'), (side, side))
    assert (cost.parameters, cost.flops) == (parameters, flops)
    unit, digits = (1e6, 1) if published.endswith('M') else (1e9, 2)
    assert f'{flops / unit:.{digits}f} {published[-1]}' == published


def test_densenet_40_costs_what_is_published():
    model = build_on_meta('configs/compression/densenet40-k12-stem24_1xb64-300e_cifar10.py')
    cost = measure_cost(model, (32, 32))
    assert (cost.parameters, cost.flops) == (1_059_298, 282_917_328)
    # The published 0.29 G counts a scale and a shift for each normalised value too.
    normalised = 0
    channels = 24
    for side in (32, 16, 8):
        normalised += sum((channels + 12 * layer) * side**2 for layer in range(13))
        channels += 144
    assert round((cost.flops + 2 * normalised) / 1e9, 2) == 0.29


@pytest.mark.filterwarnings('ignore:Default ``avg_non_ignore``')
def test_unet_on_mobilenet_v2():
    path = 'configs/compression/unet-mobilenet-v2_1xb8-40k_camvid-352x352.py'
    model = build_on_meta(path)
    cost = measure_cost(model, (352, 352))
    assert (cost.parameters, cost.flops) == (2_146_795, 1_242_617_728)
    # What mmseg's MobileNetV2 has up to the map of 320 channels.
    assert sum(value.numel() for value in model.backbone.parameters()) == 1_811_712
    assert model.backbone.init_cfg['checkpoint'] == 'mmcls://mobilenet_v2'


@pytest.mark.filterwarnings('ignore:Default ``avg_non_ignore``')
def test_unet_on_mobilenet_v2_is_cut_with_its_mirror():
    model = build('configs/compression/unet-mobilenet-v2_1xb4-200i_camvid-96x128_reduced.py')
    before = measure_cost(model, (64, 64))
    apply_plan(model, CompressionPlan(fingerprint(model), cut='backbone.layer3.2'), (64, 64))
    after = measure_cost(model, (64, 64))
    # Levels of 16, 24 and 32 channels stay, and the two steps of the way up between them.
    assert model.decode_head.in_channels == [16, 24, 32]
    assert len(model.decode_head.steps) == 2
    assert after.parameters < 0.1 * before.parameters


@pytest.mark.filterwarnings('ignore:Default ``avg_non_ignore``')
@pytest.mark.parametrize('path', REDUCED, ids=lambda path: path.stem)
def test_reduced_configs_build_and_train_little(path):
    cfg = Config.fromfile(path)
    model = build_on_meta(path)
    size = cfg.model.get('data_preprocessor', {}).get('size', (32, 32))
    assert measure_cost(model, size).flops < 6e8
    batches = cfg.train_cfg.get('max_iters')
    if batches is None:
        images = cfg.train_dataloader.dataset.indices
        batches = cfg.train_cfg.max_epochs * images / cfg.train_dataloader.batch_size
    assert batches <= 1000
    assert cfg.test_dataloader.dataset.indices <= 1000


def count(model) -> tuple[int, int]:
    """Parameters, and statistics of the normalisations."""
    buffers = model.named_buffers()
    statistics = sum(value.numel() for name, value in buffers if 'running' in name)
    return sum(value.numel() for value in model.parameters()), statistics


@pytest.mark.filterwarnings('ignore:Default ``avg_non_ignore``')
def test_unet_has_the_published_number_of_parameters():
    model = build('configs/_base_/models/unet_16-256.py')
    # The lectures count the statistics of normalisations among the parameters.
    assert sum(count(model)) == 1_946_756
    widths = [level[-1].convs[1].conv.out_channels for level in model.backbone.encoder]
    assert widths == [16, 32, 64, 128, 256]


@pytest.mark.filterwarnings('ignore:Default ``avg_non_ignore``')
def test_unet_cut_after_its_third_level_is_the_published_one_but_for_a_convolution():
    model = build('configs/_base_/models/unet_16-256.py')
    apply_plan(model, CompressionPlan(fingerprint(model), cut='backbone.encoder.2.1'), (64, 64))
    # 155,268 with the second convolution of the old decoder's stage of 64 channels, which our cut
    # drops with its level: 9 * 64 * 64 weights, 64 biases, 4 * 64 of the normalisation.
    assert sum(count(model)) == 155_268 - (9 * 64 * 64 + 64 + 4 * 64)
