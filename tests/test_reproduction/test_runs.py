import json
from dataclasses import replace

import pytest
from mmengine.runner import ValLoop

from mmlayerwise.reproduction.runs import Run, execute, load_run, runs_of, save_run
from mmlayerwise.reproduction.settings import Settings, preset_plan
from mmlayerwise.utils.errors import UserError
from tests.test_reproduction.toy import TINY, cifar10, result  # noqa: F401

RUN = Run('vgg16', 'cifar10', 'backpropagation', 1)

pytest.importorskip('mmdet')
pytestmark = pytest.mark.usefixtures('cifar10')


def comparable(found):
    """What does not depend on the clock."""
    epochs = [{key: one[key] for key in one if key != 'seconds'} for one in found['epochs']]
    return found['accuracy'], epochs


class Interrupted(Exception):
    """As if somebody had switched the machine off."""


@pytest.fixture(scope='module')
def whole(cifar10, tmp_path_factory):  # noqa: F811
    """A run of two epochs with its folder and the shares it told."""
    shares, work_dir = [], tmp_path_factory.mktemp('whole')
    return execute(RUN, TINY, work_dir, shares.append), work_dir, shares


def test_a_run_gives_the_last_accuracy_and_nothing_learned_before(whole):
    found, work_dir, shares = whole
    assert [one['epoch'] for one in found['epochs']] == [1, 2]
    assert found['accuracy'] == found['epochs'][-1]['metrics']['accuracy/top1']
    assert 0 <= found['accuracy'] <= 100
    assert found['accuracy'] % 5 == 0  # of 20 images
    assert (found['qls'], found['layerwise']) == (None, None)
    layers = found['epochs'][0]['separation']
    assert 'backbone.features.0' in layers
    assert all(0 <= value <= 1 for value in layers.values())
    first, second = (one['seconds']['processor'] for one in found['epochs'])
    assert 0 < first < second <= found['seconds']['processor']
    # Convolutions of 4, 4, 8, 8, 3 x 16 and 6 x 32 channels 57,828, their normalisations 2 x 264,
    # the head 32 x 10 + 10.
    assert found['parameters'] == 57_828 + 528 + 330
    assert shares == sorted(shares)
    assert shares[-1] == 1
    assert not list(work_dir.glob('*.pth'))
    assert list(work_dir.glob('*/*.log'))


def test_the_first_layer_is_learned_before(tmp_path):
    run = Run('vgg16', 'cifar10', 'qls_frozen', 0)
    found = execute(run, replace(TINY, epochs=1), tmp_path / 'work')
    assert found['qls']['layer'] == 'backbone.features.0'
    assert found['qls']['history'][0]['epoch'] == 0


def test_layers_learn_forward_before(tmp_path):
    run = Run('vgg16', 'cifar10', 'forward_2', 0)
    found = execute(run, replace(TINY, epochs=1), tmp_path / 'work')
    names = [layer['layer'] for layer in found['layerwise']]
    assert len(names) == 2
    assert names[0] == 'backbone.features.0'
    assert [len(layer['epochs']) for layer in found['layerwise']] == [2, 2]
    # Two epochs forward and one of backpropagation.
    assert [one['epoch'] for one in found['epochs']] == [3]


def test_an_interrupted_run_goes_on_and_ends_as_if_it_had_not_been(whole, tmp_path):
    def stop(share):
        if share > 0.6:
            raise Interrupted

    with pytest.raises(Interrupted):
        execute(RUN, TINY, tmp_path / 'work', stop)
    shares = []
    resumed = execute(RUN, TINY, tmp_path / 'work', shares.append)
    assert min(shares) > 0.5
    assert comparable(resumed) == comparable(whole[0])
    assert resumed['epochs'][0]['seconds']['wall'] < resumed['seconds']['wall']


def test_a_run_that_lacks_only_its_last_validation_gets_it(whole, tmp_path, monkeypatch):
    validate = ValLoop.run

    def fail_last(self):
        if self.runner.epoch == 2:
            raise Interrupted
        return validate(self)

    with monkeypatch.context() as patch:
        patch.setattr(ValLoop, 'run', fail_last)
        with pytest.raises(Interrupted):
            execute(RUN, TINY, tmp_path / 'work')
    assert list((tmp_path / 'work').glob('epoch_2.pth'))
    resumed = execute(RUN, TINY, tmp_path / 'work')
    assert resumed['accuracy'] == whole[0]['accuracy']


@pytest.mark.gpu
@pytest.mark.parametrize('method', ['qls_frozen', 'forward_1'])
def test_a_run_on_a_gpu(method, tmp_path):
    settings = replace(TINY, epochs=1, device='cuda')
    found = execute(Run('vgg16', 'cifar10', method, 0), settings, tmp_path / 'work')
    assert found['environment']['gpu']
    assert found['seconds']['wall'] > 0


def test_all_methods_of_a_seed_follow_each_other():
    plan = preset_plan('first-layer', 'reduced').change(
        {}, num_seeds=2, methods=('backpropagation', 'qls_frozen')
    )
    assert [(run.seed, run.method) for run in runs_of(plan)] == [
        (0, 'backpropagation'), (0, 'qls_frozen'), (1, 'backpropagation'), (1, 'qls_frozen'),
    ]  # fmt: skip
    assert runs_of(plan)[1].name == 'vgg16-cifar10-qls_frozen-seed0'


def test_numbers_are_kept_to_six_digits(tmp_path):
    path = tmp_path / 'run.json'
    save_run({**result(accuracy=12.34567891), 'seconds': {'wall': 1234567.0}}, path)
    content = json.loads(path.read_text())
    assert content['accuracy'] == 12.3457
    assert content['seconds']['wall'] == 1234570.0
    assert load_run(path)['method'] == 'backpropagation'


def test_a_result_of_other_settings_is_refused(tmp_path):
    path = tmp_path / 'run.json'
    save_run(result(subset=2000), path)
    with pytest.raises(UserError, match=r'other settings \(subset 2000, now 40, .*another --out'):
        load_run(path, TINY)


def test_settings_added_after_a_run_had_their_defaults(tmp_path):
    path, found = tmp_path / 'run.json', result()
    del found['settings']['forward_loss']
    save_run(found, path)
    assert load_run(path, Settings())['settings']['forward_loss'] == 'hinge'
    with pytest.raises(UserError, match='forward_loss hinge, now raw'):
        load_run(path, Settings(forward_loss='raw'))


@pytest.mark.parametrize('content', ['', '[]', '{}', '{"format": "x", "version": 1}'])
def test_a_file_that_is_no_result_is_refused(content, tmp_path):
    path = tmp_path / 'run.json'
    path.write_text(content)
    with pytest.raises(UserError, match=r'run\.json is no result of a run'):
        load_run(path)
