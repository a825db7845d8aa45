"""Every quickstart config trains a step, validates and saves, as `tools/train.py` runs it."""

from pathlib import Path

import pytest
import yaml
from mmengine.config import Config
from mmengine.logging import MessageHub, MMLogger
from mmengine.registry import MODELS, DefaultScope
from mmengine.visualization import Visualizer

from mmlayerwise.engine.launch import build_runner
from mmlayerwise.utils.meta_device import meta_device

pytest.importorskip('mmdet')
pytest.importorskip('mmseg')

QUICKSTART = Path(__file__).parents[2] / 'configs' / 'quickstart'
# What the config's own metric gives.
METRICS = {
    'classification': 'accuracy/top1',
    'detection': 'coco/bbox_mAP_50',
    'instance_segmentation': 'coco/segm_mAP',
    'panoptic_segmentation': 'panoptic/PQ',
    'segmentation': 'mIoU',
}


@pytest.fixture(autouse=True)
def forget_earlier_runs():
    for singletons in (MMLogger, MessageHub, Visualizer, DefaultScope):
        singletons._instance_dict.clear()


def test_every_config_is_tested():
    assert sorted(METRICS) == sorted(path.stem for path in QUICKSTART.glob('*.py'))


@pytest.mark.parametrize('name', METRICS)
def test_the_metafile_and_the_readme_have_its_parameters(name):
    metafile = yaml.safe_load((QUICKSTART / 'metafile.yml').read_text())
    entry = {model['Name']: model for model in metafile['Models']}[name]
    assert entry['Config'] == f'configs/quickstart/{name}.py'
    cfg = Config.fromfile(QUICKSTART / f'{name}.py')
    with DefaultScope.overwrite_default_scope(cfg.default_scope), meta_device():
        model = MODELS.build(cfg.model)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    assert parameters == entry['Metadata']['Parameters']
    assert f'{parameters:,}' in (QUICKSTART / 'README.md').read_text()


@pytest.mark.parametrize('name', METRICS)
def test_it_trains_validates_and_measures(name, tmp_path):
    cfg = Config.fromfile(QUICKSTART / f'{name}.py')
    cfg.work_dir = str(tmp_path)
    cfg.launcher = 'none'
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        loader.update(batch_size=2, num_workers=0, persistent_workers=False)
        loader.dataset.indices = 4
    if 'max_iters' in cfg.train_cfg:
        cfg.train_cfg.update(max_iters=2, val_interval=2)
        cfg.default_hooks.checkpoint.interval = 2
    else:
        cfg.train_cfg.update(max_epochs=1, val_interval=1)
        cfg.default_hooks.checkpoint.interval = 1
    cfg.param_scheduler.total_steps = 2
    cfg.custom_hooks[0].max_samples = 200
    if name == 'detection':
        # After two steps no score passes the threshold, and without a box there is no metric.
        cfg.model.test_cfg.score_thr = 0.0
    runner = build_runner(cfg)
    runner.train()
    scalars = runner.message_hub.log_scalars
    assert scalars['train/loss'].current() > 0
    assert 0 <= scalars[f'val/{METRICS[name]}'].current() <= 100
    assert (tmp_path / 'separation.json').stat().st_size > 0
    assert (tmp_path / 'separation.png').stat().st_size > 0
    assert list(tmp_path.glob('best_*.pth')) or scalars[f'val/{METRICS[name]}'].current() == 0
    assert (tmp_path / 'last_checkpoint').exists()
