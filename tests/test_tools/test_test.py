import pickle

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope

from mmlayerwise.engine import testing
from mmlayerwise.engine.launch import find_config
from tests.test_tools.tools import TOY_CONFIG, load_tool, log_of

train, tool = load_tool('train'), load_tool('test')


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp('trained')
    train.main([TOY_CONFIG, '--work-dir', str(folder)])
    return str(folder / 'epoch_1.pth')


def run(*argv):
    tool.main([str(argument) for argument in argv])


def test_the_metric_is_logged(checkpoint, tmp_path):
    run(TOY_CONFIG, checkpoint, '--work-dir', tmp_path)
    log = log_of(tmp_path)
    assert f'Load checkpoint from {checkpoint}' in log
    assert 'Epoch(test) [4/4]    accuracy: ' in log
    assert f'Logs and metrics are in {tmp_path}' in log


def test_predictions_are_pickled_in_the_order_of_the_data(checkpoint, tmp_path):
    out = tmp_path / 'deep' / 'predictions.pkl'
    run(TOY_CONFIG, checkpoint, '--work-dir', tmp_path, '--out', out)
    predictions = pickle.loads(out.read_bytes())
    from tests.test_tools.toy import ToyDataset

    labels = (ToyDataset().points[:, 0] > 0).int()
    assert [int(p['label']) for p in predictions] == labels.tolist()
    assert {int(p['pred']) for p in predictions} <= {0, 1}


def test_a_config_that_resumes_is_tested_from_the_named_checkpoint(checkpoint, tmp_path):
    run(TOY_CONFIG, checkpoint, '--work-dir', tmp_path, '--cfg-options', 'resume=True')
    assert 'resumed epoch' not in log_of(tmp_path)


@pytest.mark.parametrize(
    ('argv', 'message'),
    [
        (['--out', 'maps'], 'ending in .pkl'),
        (['--tta'], '--tta needs tta_model and tta_pipeline'),
        (['--show-dir', 'pictures'], "visualization=dict(type='mmdet.DetVisualizationHook')"),
    ],
)
def test_an_option_the_config_cannot_serve_is_refused(argv, message, checkpoint, tmp_path):
    with pytest.raises(SystemExit) as failure:
        run(TOY_CONFIG, checkpoint, '--work-dir', tmp_path / 'out', *argv)
    assert message in str(failure.value)
    assert not (tmp_path / 'out').exists()


def test_a_missing_checkpoint_is_named(tmp_path):
    with pytest.raises(SystemExit, match=r"error: checkpoint 'gone.pth' does not exist"):
        run(TOY_CONFIG, 'gone.pth', '--work-dir', tmp_path)


DETECTOR = 'mmdet::retinanet/retinanet_r18_fpn_1x_coco.py'
SEGMENTOR = 'mmseg::unet/unet-s5-d16_fcn_4xb4-160k_cityscapes-512x1024.py'


def save_untrained(config, path, options):
    """Write a checkpoint of a stock model with random weights."""
    cfg = Config.fromfile(find_config(config))
    cfg.merge_from_dict(options)
    init_default_scope(cfg.default_scope)
    torch.save({'state_dict': MODELS.build(cfg.model).state_dict()}, path)
    return path


def test_a_detector_without_its_own_augmentation_is_tested_on_mirrored_images():
    cfg = Config.fromfile(find_config(DETECTOR))
    testing.enable_tta(cfg)
    assert cfg.model.type == 'DetTTAModel'
    assert cfg.model.module.type == 'RetinaNet'
    *before, views = cfg.test_dataloader.dataset.pipeline
    assert [step.type for step in before] == ['LoadImageFromFile', 'Resize', 'LoadAnnotations']
    flips, (pack,) = views.transforms
    assert [flip.prob for flip in flips] == [1.0, 0.0]
    assert {'flip', 'flip_direction'} <= set(pack.meta_keys)


def test_a_segmentor_is_augmented_as_its_config_says():
    cfg = Config.fromfile(find_config(SEGMENTOR))
    testing.enable_tta(cfg)
    assert cfg.model.type == 'SegTTAModel'
    assert cfg.test_dataloader.dataset.pipeline == cfg.tta_pipeline


def test_pictures_go_where_the_hook_of_the_toolbox_puts_them():
    cfg = Config.fromfile(find_config(DETECTOR))
    testing.show_predictions(cfg, show=False, folder='pictures', wait_time=2)
    assert cfg.default_hooks.visualization.test_out_dir == 'pictures'
    assert cfg.default_hooks.visualization.draw

    cfg = Config.fromfile(find_config(SEGMENTOR))
    testing.show_predictions(cfg, show=True, folder='pictures', wait_time=0.5)
    assert cfg.visualizer.save_dir == 'pictures'
    assert cfg.default_hooks.visualization.wait_time == 0.5


@pytest.mark.slow
def test_a_detector_saves_augmented_predictions_and_pictures(data_root, tmp_path):
    coco = f'{data_root}/coco_mini/'
    weights = save_untrained(DETECTOR, tmp_path / 'a.pth', {'model.backbone.init_cfg': None})
    run(
        DETECTOR, weights, '--work-dir', tmp_path, '--out', tmp_path / 'p.pkl', '--tta',
        '--show-dir', 'pictures', '--cfg-options', 'model.backbone.init_cfg=None',
        'model.test_cfg.score_thr=0', f'test_dataloader.dataset.data_root={coco}',
        f'test_evaluator.ann_file={coco}annotations/instances_val2017.json',
        'test_dataloader.dataset.indices=2', 'test_dataloader.num_workers=0',
        'test_dataloader.persistent_workers=False',
        'test_dataloader.dataset.pipeline.1.scale=(96,96)',
    )  # fmt: skip
    predictions = pickle.loads((tmp_path / 'p.pkl').read_bytes())
    assert [len(p['pred_instances']['scores']) for p in predictions] == [100, 100]
    assert len(list(tmp_path.glob('*/pictures/*.jpg'))) == 2


@pytest.mark.slow
def test_a_segmentor_saves_its_maps(data_root, tmp_path):
    small = {
        'model.backbone.base_channels': 4,
        'model.decode_head.in_channels': 4,
        'model.auxiliary_head.in_channels': 8,
        'model.decode_head.channels': 4,
    }
    weights = save_untrained(SEGMENTOR, tmp_path / 'a.pth', small)
    config = tmp_path / 'small.py'
    config.write_text(f"""
_base_ = '{find_config(SEGMENTOR)}'
test_dataloader = dict(num_workers=0, persistent_workers=False, dataset=dict(
    type='BaseSegDataset', data_root='{data_root}/camvid', img_suffix='.jpg', indices=2,
    seg_map_suffix='.png', metainfo=dict(classes=tuple('abcdefghijklmnopqrs')),
    data_prefix=dict(img_path='img_dir/test', seg_map_path='ann_dir/test'),
    pipeline=[dict(type='LoadImageFromFile'), dict(type='Resize', scale=(96, 64)),
              dict(type='LoadAnnotations'), dict(type='PackSegInputs')]))
""")
    run(
        config, weights, '--work-dir', tmp_path, '--out', tmp_path / 'maps',
        '--cfg-options', *(f'{key}={value}' for key, value in small.items()),
    )  # fmt: skip
    assert len(list((tmp_path / 'maps').glob('*.png'))) == 2
