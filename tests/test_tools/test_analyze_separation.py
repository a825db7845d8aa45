import json
import math
from pathlib import Path

import jsonschema
import pytest
import torch

from mmlayerwise.engine.analysis import pooling_options, sampler_options
from mmlayerwise.separation.record import SeparationRecord
from mmlayerwise.separation.sketch import sketch_dimension
from mmlayerwise.utils.errors import UserError
from tests.test_separation.test_record import SCHEMA
from tests.test_tools.tools import ROOT, TOY_CONFIG, load_tool, log_of

train, tool = load_tool('train'), load_tool('analyze_separation')
CLASSIFICATION = str(ROOT / 'configs' / 'quickstart' / 'classification.py')
SMALL = ('--cfg-options', 'val_dataloader.num_workers=0', 'val_dataloader.persistent_workers=False')


def run(*argv):
    tool.main([str(argument) for argument in argv])


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp('trained')
    train.main([TOY_CONFIG, '--work-dir', str(folder)])
    return folder / 'epoch_1.pth'


def test_a_checkpoint_is_measured(checkpoint, tmp_path):
    run(TOY_CONFIG, checkpoint, '--work-dir', tmp_path, '--layers', 'auto', '--order', 2)
    record = SeparationRecord.load(tmp_path / 'separation.json')
    assert record.settings['checkpoint'] == str(checkpoint)
    (measurement,) = record.measurements
    (layer,) = measurement.profile.layers
    assert (layer.name, layer.num_samples, layer.dimension) == ('linear', 8, 2)
    from tests.test_separation.reference import friends
    from tests.test_tools.toy import ToyDataset

    state = torch.load(checkpoint, weights_only=True)['state_dict']
    points = ToyDataset().points
    norm = torch.nn.BatchNorm1d(4).eval()
    norm.load_state_dict({k[5:]: v for k, v in state.items() if k.startswith('norm.')})
    features = norm(points).detach() @ state['linear.weight'].T + state['linear.bias']
    expected = friends(features, (points[:, 0] > 0).int(), 2)
    assert layer.index == pytest.approx(expected[:, 0].mean())
    assert layer.soft == pytest.approx(expected.mean())
    assert (tmp_path / 'separation.png').read_bytes()[:4] == b'\x89PNG'
    log = log_of(tmp_path)
    assert f'separation:  {tmp_path}/separation.json' in log
    assert f'picture:     {tmp_path}/separation.png' in log


def test_named_layers_samples_and_cap(tmp_path):
    run(
        CLASSIFICATION, '--work-dir', tmp_path, '--layers', 'neck', r'backbone\.layer[12]',
        '--samples', 'ImageSamples', 'pool=average', '--max-samples', 40, *SMALL,
    )  # fmt: skip
    record = SeparationRecord.load(tmp_path / 'separation.json')
    layers = record.measurements[0].profile.layers
    assert [layer.name for layer in layers] == ['backbone.layer1', 'backbone.layer2', 'neck[0]']
    assert {layer.num_samples for layer in layers} == {40}
    assert layers[0].dimension == 16
    assert record.settings['samples'] == dict(type='ImageSamples', pool='average')


def test_large_layers_are_sketched_and_said_to_be(tmp_path):
    run(
        CLASSIFICATION, '--work-dir', tmp_path, '--max-samples', 40, '--feature-memory', 0.02,
        '--distortion', 0.9, '--layers', 'backbone.layer1', 'neck', *SMALL,
    )  # fmt: skip
    large, small = (
        SeparationRecord.load(tmp_path / 'separation.json').measurements[0].profile.layers
    )
    length = sketch_dimension(40, 0.9)
    assert (large.dimension, large.sketch_dimension, large.distortion) == (4096, length, 0.9)
    assert (small.sketch_dimension, small.distortion) == (None, None)
    assert f'{length} of 4096' in log_of(tmp_path)


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['missing.pth'], "checkpoint 'missing.pth' does not exist"),
        (['--layers', 'backbone.layer9'], 'Close names: '),
        (['--samples', 'Boxes'], "'Boxes'"),
        (['--samples', 'ImageSamples', 'average'], 'expected a type and then KEY=VALUE'),
        (['--max-samples', '1'], 'max_samples must be at least 2'),
        (['--distortion', '1'], 'distortion must be between 0 and 1, got 1.0'),
        (['--feature-memory', '0'], 'feature_memory must be at least 1 byte'),
    ],
)
def test_bad_input_gives_one_message(arguments, message, tmp_path):
    with pytest.raises(SystemExit) as failure:
        run(CLASSIFICATION, *arguments, '--work-dir', tmp_path, *SMALL)
    assert str(failure.value).startswith('error: ')
    assert message in str(failure.value)
    assert not (tmp_path / 'separation.json').exists()


def test_a_config_without_validation_data_is_refused(tmp_path):
    config = tmp_path / 'config.py'
    config.write_text(f"_base_ = '{TOY_CONFIG}'\nval_dataloader = None\n")
    with pytest.raises(SystemExit) as failure:
        run(config, '--work-dir', tmp_path)
    assert 'has no val_dataloader' in str(failure.value)


def test_the_record_of_a_training_run_is_kept(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    trained = SeparationRecord({'layers': 'auto'}, [])
    work_dir = Path('work_dirs') / 'toy_config'
    trained.save(work_dir / 'separation.json')
    text = (work_dir / 'separation.json').read_text()
    run(TOY_CONFIG, '--layers', 'auto')
    assert (work_dir / 'separation.json').read_text() == text
    found = SeparationRecord.load(work_dir / 'analysis' / 'separation.json')
    assert found.settings['checkpoint'] is None
    assert (work_dir / 'analysis' / 'separation.png').exists()
    # Also where the folder is named, unless it holds an earlier analysis.
    with pytest.raises(SystemExit, match='record of a training run and would be overwritten'):
        run(TOY_CONFIG, '--layers', 'auto', '--work-dir', work_dir)
    assert (work_dir / 'separation.json').read_text() == text
    run(TOY_CONFIG, '--layers', 'auto', '--order', 2, '--work-dir', work_dir / 'analysis')
    found = SeparationRecord.load(work_dir / 'analysis' / 'separation.json')
    assert found.settings['order'] == 2


def test_pooling_is_read_from_words():
    assert pooling_options(None) is None
    assert pooling_options(['average']) == 'average'
    assert pooling_options(['4']) == 4
    expected = {'backbone.*': 'average', 'neck[0]': 2}
    assert pooling_options(['backbone.*=average', 'neck[0]=2']) == expected
    with pytest.raises(UserError, match='LAYER=POOLING'):
        pooling_options(['average', 'neck=2'])


def test_the_pooling_of_a_layer_is_set_and_recorded(tmp_path):
    run(
        CLASSIFICATION, '--work-dir', tmp_path, '--layers', r'backbone\.layer[12]',
        '--pooling', r'.*layer1=average', '--max-samples', 40, *SMALL,
    )  # fmt: skip
    record = SeparationRecord.load(tmp_path / 'separation.json')
    first, second = record.measurements[0].profile.layers
    assert first.dimension == first.shape[0]
    assert second.dimension == math.prod(second.shape)
    assert record.settings['pooling'] == {'.*layer1': 'average'}
    schema = json.loads(SCHEMA.read_text(encoding='utf-8'))
    data = json.loads((tmp_path / 'separation.json').read_text())
    jsonschema.Draft202012Validator(schema).validate(data)
    assert set(data['settings']) <= set(schema['properties']['settings']['properties'])


def test_samples_are_read_from_words():
    assert sampler_options(['auto']) == 'auto'
    expected = dict(type='BoxSamples', output_size=5, exclude_same_image=False)
    assert sampler_options(['BoxSamples', 'output_size=5', 'exclude_same_image=False']) == expected
    with pytest.raises(UserError, match='KEY=VALUE'):
        sampler_options(['auto', 'a=1'])


def test_help_shows_examples(capsys):
    with pytest.raises(SystemExit):
        run('--help')
    shown = capsys.readouterr().out
    assert 'examples:' in shown
    assert '--layers' in shown
