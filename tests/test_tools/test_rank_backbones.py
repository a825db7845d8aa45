import json

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DATASETS, DefaultScope

from mmlayerwise.engine.measured_model import use_data_of, use_training_data
from tests.test_separation.reference import friends
from tests.test_tools.tools import ROOT, TOY_CONFIG, load_tool, log_of
from tests.test_tools.toy import ToyClassifier, ToyDataset

tool = load_tool('analysis_tools/rank_backbones')
CLASSIFICATION = str(ROOT / 'configs' / 'quickstart' / 'classification.py')
SMALL = ('val_dataloader.num_workers=0', 'val_dataloader.persistent_workers=False')


def run(*argv):
    tool.main([str(argument) for argument in argv])


@pytest.fixture
def checkpoint(tmp_path):
    torch.manual_seed(0)
    model = ToyClassifier()
    torch.save(dict(state_dict=model.state_dict(), meta={}), tmp_path / 'toy.pth')
    return tmp_path / 'toy.pth', model.eval()


def test_networks_are_ranked_by_the_index_of_the_definition(checkpoint, tmp_path):
    path, model = checkpoint
    run(
        '--network', TOY_CONFIG, path, 'layer=linear', 'name=logits',
        '--network', TOY_CONFIG, path, 'layer=norm', 'name=points',
        '--cross', '--out', tmp_path / 'out',
    )  # fmt: skip
    content = json.loads((tmp_path / 'out' / 'ranking.json').read_text())
    points = ToyDataset().points
    labels = (points[:, 0] > 0).int()
    with torch.no_grad():
        features = dict(logits=model.linear(model.norm(points)), points=model.norm(points))
    hits = {name: friends(values, labels)[:, 0] for name, values in features.items()}
    networks = {one['name']: one for one in content['networks']}
    for name, found in networks.items():
        assert found['separation']['index'] == pytest.approx(hits[name].mean())
        # The toy's training data are its validation data: each sample finds itself.
        assert found['cross']['index'] == 1
    order = [one['name'] for one in content['networks']]
    assert order == sorted(order, key=lambda name: -hits[name].mean())
    first, second = content['networks']
    gain = hits[first['name']].astype(float) - hits[second['name']]
    assert first['lead']['gain'] == pytest.approx(gain.mean())
    assert first['lead']['standard_error'] == pytest.approx(gain.std(ddof=1) / np.sqrt(8))
    assert second['lead'] is None
    best, chance = first['separation']['index'], first['chance']
    assert content['rejected_below'] == pytest.approx(0.5 * (best + chance))
    table = (tmp_path / 'out' / 'ranking.md').read_text()
    assert f'| 1 | {order[0]} |' in table
    assert f'{best:.4f}' in table
    assert (tmp_path / 'out' / 'ranking.png').read_bytes()[:4] == b'\x89PNG'
    assert f'{tmp_path}/out/ranking.md' in log_of(tmp_path / 'out')


def test_the_target_data_of_another_config_are_taken(tmp_path):
    target = tmp_path / 'target.py'
    target.write_text(
        f"_base_ = '{CLASSIFICATION}'\nval_dataloader = dict(dataset=dict(indices=40))\n"
    )
    run(
        '--network', CLASSIFICATION, '--network', CLASSIFICATION, 'name=early',
        'layer=backbone.layer1', '--data', target, '--out', tmp_path / 'out',
        '--cfg-options', *SMALL,
    )  # fmt: skip
    content = json.loads((tmp_path / 'out' / 'ranking.json').read_text())
    networks = {one['name']: one for one in content['networks']}
    assert networks.keys() == {'classification', 'early'}
    assert {one['separation']['num_samples'] for one in networks.values()} == {40}
    # Without a name of a layer it is the feature extractor's output.
    assert networks['classification']['layer'] == 'neck[0]'
    assert networks['classification']['dimension'] == 128


def test_training_data_pass_the_validation_pipeline_without_wrappers():
    plain = dict(type='Digits', split='train', pipeline=[dict(type='Augment')])
    cfg = Config(
        dict(
            train_dataloader=dict(
                dataset=dict(
                    type='RepeatDataset',
                    dataset=dict(type='ConcatDataset', datasets=[plain, plain]),
                )
            ),
            val_dataloader=dict(dataset=dict(type='Digits', pipeline=[dict(type='Pack')])),
        )
    )
    use_training_data(cfg)
    dataset = cfg.val_dataloader.dataset
    assert dataset.type == 'ConcatDataset'
    assert [one.split for one in dataset.datasets] == ['train', 'train']
    assert [one.pipeline[0].type for one in dataset.datasets] == ['Pack', 'Pack']


def test_data_of_another_scope_are_built_in_theirs():
    target = Config.fromfile(CLASSIFICATION)
    cfg = Config(dict(default_scope='mmdet', val_dataloader=None))
    use_data_of(cfg, target)
    DefaultScope.get_instance('test', scope_name='mmdet')
    dataset = DATASETS.build(cfg.val_dataloader.dataset)
    assert type(dataset).__name__ == 'Digits'
    assert type(dataset.pipeline.transforms[-1]).__module__.startswith('mmlayerwise')


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ((TOY_CONFIG,), 'at least two networks'),
        ((TOY_CONFIG, '--network', TOY_CONFIG), 'a name of its own'),
        ((TOY_CONFIG, 'missing.pth', '--network', TOY_CONFIG, 'name=b'), "'missing.pth' does not"),
        ((TOY_CONFIG, 'depth=3'), 'expected CONFIG [CHECKPOINT]'),
        ((TOY_CONFIG, '--network', TOY_CONFIG, 'name=b'), 'has no backbone'),
    ],
)
def test_bad_input_gives_one_message(arguments, message, tmp_path):
    with pytest.raises(SystemExit) as failure:
        run('--network', *arguments, '--out', tmp_path)
    assert str(failure.value).startswith('error: ')
    assert message in str(failure.value)


def test_different_data_are_refused(tmp_path):
    other = tmp_path / 'other.py'
    other.write_text(f"_base_ = '{TOY_CONFIG}'\nval_dataloader = dict(dataset=dict(size=3))\n")
    with pytest.raises(SystemExit) as failure:
        run(
            '--network', TOY_CONFIG, 'layer=linear', '--network', other, 'layer=linear',
            '--out', tmp_path / 'out',
        )  # fmt: skip
    assert 'name the config of the target data by --data' in str(failure.value)
