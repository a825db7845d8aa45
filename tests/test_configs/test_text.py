"""What holds for every config of text classification; the zoo test covers the rest."""

import copy
from pathlib import Path

import pytest
import torch
from mmengine import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import DefaultScope

from mmlayerwise.datasets import AGNews
from mmlayerwise.engine.launch import build_runner
from mmlayerwise.registry import DATASETS, MODELS
from mmlayerwise.separation.record import SeparationRecord
from mmlayerwise.utils.meta_device import meta_device

CONFIGS = Path(__file__).parents[2] / 'configs'
PATHS = sorted((CONFIGS / 'vdcnn').glob('*.py'))
QLS = CONFIGS / 'qls' / 'vdcnn9_qls_1xb128-15e_ag-news.py'


@pytest.fixture(autouse=True)
def scope():
    with DefaultScope.overwrite_default_scope('mmlayerwise'):
        yield


def by_name(paths: list[Path]) -> list:
    return [pytest.param(path, id=path.stem) for path in paths]


def build_on_meta(path: Path) -> torch.nn.Module:
    with meta_device():
        return MODELS.build(Config.fromfile(path).model)


@pytest.mark.parametrize('path', by_name(PATHS))
def test_model_and_data_fit(path):
    config = Config.fromfile(path)
    model = build_on_meta(path).eval()
    quantize = config.train_pipeline[0]
    tokens = torch.zeros(2, quantize.length, dtype=torch.int64, device='meta')
    assert model.head(model.neck(model.backbone(tokens))).shape == (2, config.num_classes)
    for loader in (config.train_dataloader, config.val_dataloader, config.test_dataloader):
        assert len(DATASETS.get(loader.dataset.type).METAINFO['classes']) == config.num_classes
        assert loader.dataset.pipeline[0] == quantize


@pytest.mark.parametrize('path', by_name(PATHS))
def test_every_config_is_in_its_readme(path):
    parameters = sum(p.numel() for p in build_on_meta(path).parameters())
    readme = (path.parent / 'README.md').read_text(encoding='utf-8')
    (row,) = (line for line in readme.splitlines() if f'({"./" + path.name})' in line)
    assert f'| {parameters:,} |' in row


def test_learns_a_batch_of_real_texts(data_root):
    torch.manual_seed(0)
    config = Config.fromfile(CONFIGS / 'vdcnn' / 'vdcnn9_1xb128-15e_ag-news.py')
    config.train_dataloader.dataset.data_root = str(data_root / 'ag_news_csv')
    config.train_dataloader.dataset.pipeline[0].length = 96
    data = DATASETS.build(config.train_dataloader.dataset)
    labels = data.get_gt_labels()
    samples = [data[int((labels == label).argmax())] for label in range(4)]
    model = MODELS.build(shrink(config).model).train()
    model.init_weights()
    batch = model.data_preprocessor(pseudo_collate(samples), training=True)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(20):
        loss, _ = model.parse_losses(model(**batch, mode='loss'))
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert losses[-1] < 0.3 * losses[0], losses


def shrink(config: Config) -> Config:
    """An eighth of the channels."""
    config.model.backbone.base_channels = 8
    config.model.head.update(in_channels=64 * 8, mid_channels=(32, 32))
    return config


def tiny_run(path: Path, data_root: Path, work_dir: Path) -> Config:
    """A config on a few short texts for one epoch."""
    config = shrink(Config.fromfile(path))
    config.work_dir = str(work_dir)
    config.launcher = 'none'
    for loader in (config.train_dataloader, config.val_dataloader, config.test_dataloader):
        loader.update(batch_size=8, num_workers=0, persistent_workers=False)
        loader.dataset.update(indices=48, data_root=str(data_root / 'ag_news_csv'))
        loader.dataset.pipeline[0].length = 96
    config.train_cfg.max_epochs = 1
    return config


def test_trains_measures_and_tests_as_images_do(data_root, tmp_path):
    config = tiny_run(CONFIGS / 'vdcnn' / 'vdcnn9_1xb128-15e_ag-news.py', data_root, tmp_path)
    hook = dict(type='mmlayerwise.SeparationHook', layers='auto', max_samples=40)
    config.custom_hooks = [hook]
    testing = copy.deepcopy(config)
    runner = build_runner(config)
    runner.train()
    metrics = runner.message_hub.log_scalars
    assert metrics['train/loss'].current() > 0
    accuracy = metrics['val/accuracy/top1'].current()
    assert 0 < accuracy <= 100
    record = SeparationRecord.load(tmp_path / 'separation.json')
    layers = {layer.name: layer for layer in record.measurements[-1].profile.layers}
    assert {'backbone.conv', 'backbone.stages.3.0.conv2', 'head.fc'} <= set(layers)
    assert all(0 <= one.index <= 1 and one.num_samples == 40 for one in layers.values())

    testing.load_from = str(tmp_path / 'epoch_1.pth')
    testing.custom_hooks = []
    assert build_runner(testing).test()['accuracy/top1'] == pytest.approx(accuracy)


def test_quasi_least_squares_learn_the_first_temporal_convolution(data_root, tmp_path):
    config = tiny_run(QLS, data_root, tmp_path)
    (hook,) = config.custom_hooks
    hook.update(num_samples=40, epochs=2)
    runner = build_runner(config)
    runner.model.init_weights()
    backbone = runner.model.backbone
    before = {name: p.detach().clone() for name, p in backbone.named_parameters()}
    runner.train_loop  # noqa: B018  (builds the data loader that the hook reads)
    (hook,) = (one for one in runner.hooks if type(one).__name__ == 'QLSInitHook')
    hook.before_train(runner)
    changed = {name for name, p in backbone.named_parameters() if not torch.equal(p, before[name])}
    # The characters' vectors, which the convolution reads, stay as they are.
    assert changed == {'conv.weight', 'conv.bias'}
    assert (tmp_path / 'qls.json').stat().st_size > 0
    assert (tmp_path / 'qls_filters.png').stat().st_size > 0


def test_only_some_classes_of_a_text_data_set(data_root):
    data = AGNews(data_root / 'ag_news_csv', 'test', metainfo=dict(classes=('Sports', 'World')))
    assert set(data.get_gt_labels()) == {0, 1}
