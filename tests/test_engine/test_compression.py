import copy
import json
import re

import pytest
import torch
from mmengine.config import Config

from mmlayerwise.compression import CompressionError, CompressionPlan
from mmlayerwise.compression.settings import PlannerSettings
from mmlayerwise.engine.compression import CompressionOptions, compress
from mmlayerwise.engine.launch import build_runner
from mmlayerwise.utils.errors import UserError
from tests.test_engine.compression_runs import load, state_of, write_config

OPTIONS = CompressionOptions(max_samples=100, head_samples=400)


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """Config and checkpoint of a classifier after five passes over 500 digits."""
    folder = tmp_path_factory.mktemp('trained')
    path = write_config(folder)
    cfg = load(path, folder / 'work')
    cfg.train_cfg.max_epochs, cfg.train_cfg.val_interval = 5, 5
    cfg.default_hooks.checkpoint = dict(type='CheckpointHook', interval=5)
    build_runner(cfg).train()
    return path, str(folder / 'work' / 'epoch_5.pth')


@pytest.fixture(scope='module')
def compressed(trained, tmp_path_factory):
    path, checkpoint = trained
    folder = tmp_path_factory.mktemp('compressed') / 'small'
    cfg = load(path, folder.parent / 'work')
    return folder, compress(cfg, str(path), checkpoint, folder, options=OPTIONS)


def test_folder_holds_the_four_files(compressed):
    folder, _ = compressed
    names = sorted(file.name for file in folder.iterdir())
    assert names == ['config.py', 'plan.json', 'report.html', 'weights.pth']
    assert not [file for file in folder.parent.iterdir() if file.name.startswith('.')]


def test_model_is_smaller_and_still_works(compressed):
    _, found = compressed
    savings = found.result.planned.plan.savings
    assert savings.after.parameters < savings.before.parameters
    assert savings.after.flops < savings.before.flops
    counted = sum(parameter.numel() for parameter in found.result.model.parameters())
    assert savings.after.parameters == counted
    assert found.before['accuracy/top1'] > 60
    assert found.after['accuracy/top1'] > 0.8 * found.before['accuracy/top1']


def test_testing_the_files_gives_the_same_numbers(compressed, tmp_path):
    folder, found = compressed
    cfg = load(folder / 'config.py', tmp_path)
    assert cfg.load_from == str(folder / 'weights.pth')
    assert build_runner(cfg, splits=('test',)).test() == found.after


def test_weights_are_tensors_only_and_fill_the_model(compressed):
    folder, found = compressed
    state = state_of(folder / 'weights.pth')
    assert state.keys() == found.result.model.state_dict().keys()
    meta = torch.load(folder / 'weights.pth', weights_only=True)['meta']
    plan = CompressionPlan.load(folder / 'plan.json')
    assert CompressionPlan.from_dict(meta['compression']).channels == plan.channels
    assert len(meta['dataset_meta']['classes']) == 10


def test_config_inherits_and_can_be_moved_with_its_folder(compressed):
    folder, _ = compressed
    text = (folder / 'config.py').read_text()
    assert re.search(r"^_base_ = '.*digits\.py'$", text, re.MULTILINE)
    assert 'train_dataloader' not in text
    cfg = Config.fromfile(folder / 'config.py')
    assert cfg.model.backbone.depth == 18
    assert cfg.custom_imports.imports == ['mmlayerwise']


def test_plan_tells_reasons_and_settings(compressed):
    folder, _ = compressed
    plan = json.loads((folder / 'plan.json').read_text())
    assert plan['settings']['max_samples'] == 100
    assert plan['steps'][-1]['kind'] == 'head'
    assert plan['savings']['after']['parameters'] < plan['savings']['before']['parameters']
    assert all(0 <= step['after'] <= 1 for step in plan['steps'])


def test_report_shows_cost_metrics_and_layers(compressed):
    folder, found = compressed
    page = (folder / 'report.html').read_text().replace('<wbr>', '')
    after = found.result.planned.plan.savings.after
    assert f'{after.parameters:,}' in page
    assert f'{found.after["accuracy/top1"]:.4f}' in page
    for step in found.result.planned.plan.steps:
        assert step.module in page
    assert 'src="http' not in page


def test_training_goes_on_from_the_weights(compressed, tmp_path):
    folder, _ = compressed
    cfg = load(folder / 'config.py', tmp_path)
    cfg.train_dataloader.dataset.indices = 50
    cfg.val_dataloader.dataset.indices = 10
    cfg.optim_wrapper.optimizer.lr = 1e-9
    runner = build_runner(cfg)
    runner.train()
    trained = state_of(tmp_path / 'epoch_1.pth')
    start = state_of(folder / 'weights.pth')
    name = next(name for name, value in start.items() if name.endswith('conv1.weight'))
    assert trained.keys() == start.keys()
    torch.testing.assert_close(trained[name], start[name], rtol=1e-4, atol=1e-6)


def test_compressing_again_works(compressed, tmp_path):
    folder, first = compressed
    cfg = load(folder / 'config.py', tmp_path / 'work')
    settings = PlannerSettings(budget=0.9, cut='none', drop_limit=0.5)
    found = compress(
        cfg,
        str(folder / 'config.py'),
        str(folder / 'weights.pth'),
        tmp_path / 'twice',
        settings,
        OPTIONS,
    )
    second = found.result.planned.plan.savings
    assert second.before == first.result.planned.plan.savings.after
    assert second.after.flops <= 0.9 * second.before.flops
    again = load(tmp_path / 'twice' / 'config.py', tmp_path / 'work')
    assert len(again.model.plan) == 2
    again.load_from = str(tmp_path / 'twice' / 'weights.pth')
    assert build_runner(again, splits=('test',)).test() == found.after


def test_overrides_of_the_command_line_are_in_the_new_config(trained, tmp_path):
    path, checkpoint = trained
    cfg = load(path, tmp_path / 'work')
    cfg.merge_from_dict({'test_dataloader.dataset.indices': 30, 'model.head.dropout_rate': 0.5})
    settings = PlannerSettings(criterion='magnitude', budget=0.7)
    found = compress(cfg, str(path), checkpoint, tmp_path / 'small', settings, OPTIONS)
    again = load(tmp_path / 'small' / 'config.py', tmp_path / 'work')
    assert again.test_dataloader.dataset.indices == 30
    assert again.model.head.dropout_rate == 0.5
    assert build_runner(again, splits=('test',)).test() == found.after


def test_checkpoint_of_another_head_is_refused(trained, tmp_path):
    path, checkpoint = trained
    cfg = load(path, tmp_path)
    cfg.model.head.update(type='mmlayerwise.StackedLinearClsHead', mid_channels=[8])
    with pytest.raises(UserError, match=r'does not fit the config: 3 of .*head\.layers\.0'):
        compress(cfg, str(path), checkpoint, tmp_path / 'small', options=OPTIONS)
    assert not (tmp_path / 'small').exists()


def test_interrupted_run_leaves_nothing(trained, tmp_path, monkeypatch):
    path, checkpoint = trained

    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr('mmlayerwise.engine.compression.write_compression_report', interrupt)
    out = tmp_path / 'results'
    settings = PlannerSettings(criterion='random', budget=0.9)
    options = CompressionOptions(max_samples=50, head_samples=50, test=False)
    with pytest.raises(KeyboardInterrupt):
        compress(
            load(path, tmp_path / 'work'), str(path), checkpoint, out / 'small', settings, options
        )
    assert list(out.iterdir()) == []


def test_untrained_model_has_nothing_to_cut(trained, tmp_path):
    path, checkpoint = trained
    weights = torch.load(checkpoint, weights_only=False)
    for name, value in weights['state_dict'].items():
        if name.startswith('backbone.conv1'):
            value.zero_()
    torch.save({'state_dict': weights['state_dict'], 'meta': {}}, tmp_path / 'dead.pth')
    with pytest.raises(CompressionError, match='nothing to cut'):
        compress(
            load(path, tmp_path / 'work'),
            str(path),
            str(tmp_path / 'dead.pth'),
            tmp_path / 'small',
            options=OPTIONS,
        )


def test_earlier_results_are_kept_unless_asked(trained, tmp_path):
    path, checkpoint = trained
    out = tmp_path / 'small'
    out.mkdir()
    (out / 'plan.json').write_text('{}')
    with pytest.raises(UserError, match='--overwrite'):
        compress(load(path, tmp_path), str(path), checkpoint, out)
    (out / 'thesis.tex').write_text('')
    with pytest.raises(UserError, match=r'other files \(thesis\.tex\)'):
        compress(
            load(path, tmp_path), str(path), checkpoint, out,
            options=CompressionOptions(overwrite=True),
        )  # fmt: skip


def test_training_data_is_needed(trained, tmp_path):
    path, checkpoint = trained
    cfg = load(path, tmp_path)
    for key in ('train_dataloader', 'train_cfg', 'optim_wrapper'):
        cfg.pop(key)
    with pytest.raises(UserError, match='has no train_dataloader'):
        compress(cfg, str(path), checkpoint, tmp_path / 'small', options=OPTIONS)


def test_config_given_is_left_alone(trained, tmp_path):
    path, _ = trained
    cfg = load(path, tmp_path)
    expected = copy.deepcopy(cfg.to_dict())
    with pytest.raises(UserError, match='does not exist'):
        compress(cfg, str(path), str(tmp_path / 'none.pth'), tmp_path / 'small')
    assert cfg.to_dict() == expected
