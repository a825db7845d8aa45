"""Every config of layer-wise learning, cut down to seconds, trains to its end."""

import json
from pathlib import Path

import pytest
from mmengine.config import Config

import mmlayerwise  # noqa: F401
from mmlayerwise.utils.config_check import check_config
from mmlayerwise.utils.errors import UserError
from tests.test_engine.test_hooks.runs import runner_of

FOLDER = Path(__file__).parents[2] / 'configs' / 'layerwise'
CONFIGS = sorted(FOLDER.glob('*.py'))


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_a_config_names_known_components_and_options(path):
    cfg = Config.fromfile(path)
    check_config(cfg)
    assert cfg.train_cfg.type == 'mmlayerwise.LayerwiseTrainLoop'
    assert path.name in (FOLDER / 'README.md').read_text()


def test_every_part_can_be_named_in_a_config_and_a_misspelt_one_is_found():
    cfg = Config.fromfile(FOLDER / 'digits_layerwise.py')
    cfg.train_cfg.update(
        loss=dict(type='mmlayerwise.SoftTripletLoss'),
        miner=dict(type='mmlayerwise.NearestTripletMiner', memory_size=100),
        stop=dict(type='mmlayerwise.SeparationStopRule', patience=2),
        optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1)),
        samples=dict(type='ImageSamples', pool=4),
        layers='stages',
    )
    cfg.train_dataloader.batch_sampler = dict(type='mmlayerwise.ClassBalancedBatchSampler')
    check_config(cfg)
    cfg.train_cfg.miner.memory = cfg.train_cfg.miner.pop('memory_size')
    cfg.train_cfg.loss.type = 'mmlayerwise.SoftTripletLos'
    with pytest.raises(UserError) as error:
        check_config(cfg)
    assert "train_cfg.miner: NearestTripletMiner has no argument 'memory'" in str(error.value)
    assert "train_cfg.loss: no component 'mmlayerwise.SoftTripletLos'" in str(error.value)
    assert 'SoftTripletLoss' in str(error.value)


@pytest.mark.parametrize(
    ('name', 'layers'),
    [
        ('digits_layerwise', ['backbone.conv1', 'backbone.layer1.0']),
        (
            'unet-s5-d16_fcn_layerwise-k2_1xb8-3e_camvid-128x128',
            ['backbone.encoder.0.0.convs.0.conv', 'backbone.encoder.0.0.convs.1.conv'],
        ),
        ('retinanet_r18_fpn_layerwise-k1_1xb8-6e_coco-mini', ['backbone.conv1']),
        ('yolox_tiny_layerwise-k1_1xb8-6e_coco-mini', ['backbone.stem.conv.conv']),
        (
            'deeplabv3plus_r18-d8_layerwise-k2_1xb8-3e_camvid-128x128',
            ['backbone.stem.0', 'backbone.stem.3'],
        ),
        ('vdcnn9_layerwise-k1_1xb128-15e_ag-news', ['backbone.conv']),
        ('vgg16_layerwise-k1_1xb128-200e_cifar10', ['backbone.features.0']),
    ],
)
def test_a_config_learns_its_layers(name, layers, tmp_path, request):
    if name != 'digits_layerwise':
        root = request.getfixturevalue('data_root')
        assert root.is_dir()
    cfg = Config.fromfile(FOLDER / f'{name}.py')
    cfg.work_dir = str(tmp_path)
    cfg.train_cfg.update(num_samples=40, batch_size=20, max_epochs=1)
    cfg.train_cfg.stop = dict(type='mmlayerwise.SeparationStopRule', max_epochs=1)
    cfg.train_dataloader.update(batch_size=4, num_workers=0, persistent_workers=False)
    cfg.train_dataloader.dataset.indices = 8 if 'coco' in name or 'camvid' in name else 40
    if 'vgg' in name:
        cfg.model.backbone.widen_factor = 0.125
        cfg.model.head.update(in_channels=64, mid_channels=(16,))
    if 'retinanet' in name:
        cfg.model.backbone.base_channels = 8
        cfg.model.neck.update(in_channels=[8, 16, 32, 64], out_channels=16)
        cfg.model.bbox_head.update(in_channels=16, feat_channels=16)
    if 'unet' in name:
        cfg.model.backbone.base_channels = 4
        cfg.model.decode_head.in_channels = 4
        cfg.model.auxiliary_head.in_channels = 8
    if 'yolox' in name:
        cfg.model.backbone.widen_factor = 0.125
        cfg.model.neck.update(in_channels=[32, 64, 128], out_channels=16)
        cfg.model.bbox_head.update(in_channels=16, feat_channels=16)
    if 'deeplab' in name:
        cfg.model.backbone.update(base_channels=8, stem_channels=8)
        cfg.model.decode_head.update(
            in_channels=64, channels=8, c1_in_channels=8, c1_channels=4, dilations=(1, 2)
        )
        cfg.model.auxiliary_head.update(in_channels=32, channels=8)
    if 'vdcnn' in name:
        cfg.train_dataloader.dataset.pipeline[0].length = 96
        cfg.model.backbone.base_channels = 8
        cfg.model.head.update(in_channels=64 * 8, mid_channels=(16,))
    cfg.custom_hooks = []
    cfg.param_scheduler = None
    cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    runner_of(cfg).train()
    record = json.loads((tmp_path / 'layerwise.json').read_text())
    assert [layer['layer'] for layer in record] == layers
