import pickle

import pytest

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
    points = train_points()
    assert [int(p['label']) for p in predictions] == (points[:, 0] > 0).int().tolist()
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


def train_points():
    from tests.test_tools.toy import ToyDataset

    return ToyDataset().points
