import pytest
import torch
from mmengine.config import Config

from mmlayerwise.forward import ForwardLearningError
from tests.test_engine.test_hooks.runs import QUICKSTART
from tests.test_engine.test_runner.layerwise_runs import config, train

YOLOX = dict(
    type='YOLOX',
    data_preprocessor=dict(type='DetDataPreprocessor', pad_size_divisor=32),
    backbone=dict(type='CSPDarknet', deepen_factor=0.33, widen_factor=0.125),
    neck=dict(type='YOLOXPAFPN', in_channels=[32, 64, 128], out_channels=32, num_csp_blocks=1),
    bbox_head=dict(type='YOLOXHead', num_classes=10, in_channels=32, feat_channels=32),
    train_cfg=dict(assigner=dict(type='SimOTAAssigner')),
    test_cfg=dict(score_thr=0.01, nms=dict(type='nms', iou_threshold=0.65)),
)
HEAD = dict(
    type='FCNHead', in_channels=4, in_index=-1, channels=4, num_convs=1, num_classes=13,
    concat_input=False, norm_cfg=dict(type='BN'), loss_decode=dict(type='CrossEntropyLoss'),
)  # fmt: skip
SEGMENTOR = dict(
    type='EncoderDecoder',
    data_preprocessor=dict(type='SegDataPreProcessor', size=(64, 64)),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'),
)
UNET = dict(
    SEGMENTOR,
    backbone=dict(
        type='UNet', base_channels=4, num_stages=3, strides=(1, 1, 1), enc_num_convs=(1, 1, 1),
        dec_num_convs=(1, 1), downsamples=(True, True), enc_dilations=(1, 1, 1),
        dec_dilations=(1, 1), norm_cfg=dict(type='BN'),
    ),
    decode_head=HEAD,
)  # fmt: skip
DEEPLABV3PLUS = dict(
    SEGMENTOR,
    backbone=dict(
        type='ResNetV1c', depth=18, base_channels=8, stem_channels=8, norm_cfg=dict(type='BN'),
        strides=(1, 2, 1, 1), dilations=(1, 1, 2, 4), contract_dilation=True,
    ),
    decode_head=dict(
        HEAD, type='DepthwiseSeparableASPPHead', in_channels=64, in_index=3, dilations=(1, 2),
        c1_in_channels=8, c1_channels=4,
    ),
)  # fmt: skip
del DEEPLABV3PLUS['decode_head']['num_convs'], DEEPLABV3PLUS['decode_head']['concat_input']
# A layer of the backbone, and the deepest that is shown: reached through neck, decoder or head.
MODELS_OF_TASKS = dict(
    RetinaNet=('detection', None, ['backbone.conv1', 'bbox_head.cls_convs.0.conv']),
    YOLOX=('detection', YOLOX, ['backbone.stem', 'bbox_head.multi_level_cls_convs.0.0.conv']),
    UNet=(
        'segmentation', UNET,
        ['backbone.encoder.0.0.convs.0.conv', 'backbone.decoder.0.conv_block.convs.0.conv'],
    ),
    DeepLabV3Plus=(
        'segmentation', DEEPLABV3PLUS,
        ['backbone.layer1.0', 'decode_head.sep_bottleneck.0.pointwise_conv.conv'],
    ),
)  # fmt: skip


@pytest.mark.parametrize('name', MODELS_OF_TASKS)
def test_detectors_and_segmentors_learn_from_boxes_and_pixels(name, tmp_path):
    task, model, layers = MODELS_OF_TASKS[name]
    stop = dict(type='mmlayerwise.SeparationStopRule', max_epochs=1)
    cfg = config(tmp_path, 'all', task, layers=layers, num_samples=60, stop=stop, freeze=False)
    cfg.train_dataloader.dataset.update(image_size=(64, 64), digit_size=(16, 40))
    if model is not None:
        cfg.model = model
    cfg.optim_wrapper.optimizer.lr = 1e-3
    runner, watch = train(cfg)
    assert [row.get('layer') for row in watch.rows] == [1, 1, 2, 2, None, None]
    assert all(float(row['loss']) > 0 for row in watch.rows)
    found = runner.train_loop.layers
    assert [layer.name.partition('#')[0] for layer in found] == layers
    for number, layer in enumerate(found):
        start, end = watch.weights[number], watch.ends[number]
        changed = {key for key in start if not torch.equal(start[key], end[key])}
        assert layer.parameters <= changed


def text_config(folder, **train_cfg):
    """Texts of two of the four classes."""
    words = ('goal match team', 'stocks bank trade')
    rows = [
        f'"{number % 2 + 1}","{words[number % 2]}","{"ab"[number % 2] * (9 + number)}"\n'
        for number in range(40)
    ]
    (folder / 'train.csv').write_text(''.join(rows))
    cfg = config(folder / 'work', 2, batch_size=8, **train_cfg)
    text = Config.fromfile(QUICKSTART.parent / 'vdcnn' / 'vdcnn9_1xb128-15e_ag-news.py')
    cfg.model, cfg.train_dataloader = text.model, text.train_dataloader
    cfg.model.backbone.base_channels = 4
    cfg.model.head.update(in_channels=32 * 8, mid_channels=(8,))
    cfg.train_dataloader.update(batch_size=10, num_workers=0, persistent_workers=False)
    cfg.train_dataloader.dataset.data_root = str(folder)
    cfg.train_dataloader.dataset.pipeline[0].length = 64
    return cfg


def test_texts_are_learned_in_balanced_batches_with_a_memory(tmp_path):
    miner = dict(type='mmlayerwise.NearestTripletMiner', memory_size=16)
    cfg = text_config(tmp_path, num_samples=20, miner=miner)
    runner, watch = train(cfg)
    loop = runner.train_loop
    assert loop.found.kind == 'text'
    assert loop.found.of_whole_inputs
    assert [layer.name for layer in loop.layers] == ['backbone.conv', 'backbone.stages.0.0.conv1']
    forward = [row for row in watch.rows if 'layer' in row]
    assert len(watch.batches[0]) == 8
    assert all(sorted(batch) == [0, 0, 0, 0, 1, 1, 1, 1] for batch in watch.batches[: len(forward)])
    assert {row['layer'] for row in forward} == {1, 2}
    assert len(loop.miner._memory[1]) == 16


def test_too_few_texts_to_measure_are_refused(tmp_path):
    cfg = text_config(tmp_path, num_samples=6)
    with pytest.raises(ForwardLearningError, match='num_samples=6 are too few for 4 classes'):
        train(cfg)
