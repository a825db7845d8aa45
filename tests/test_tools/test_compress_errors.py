"""What ``tools/compress.py`` says to bad input: one message, and nothing half written."""

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope

from mmlayerwise.models.backbones import ResNetCIFAR
from tests.test_engine.compression_runs import write_config
from tests.test_tools.tools import load_tool

tool = load_tool('compress')


@MODELS.register_module()
class BackboneThatNobodyCanTrace(ResNetCIFAR):
    def forward(self, inputs):
        if torch.is_grad_enabled() and not self.training:
            raise RuntimeError('no gradients in evaluation mode')
        return super().forward(inputs)


@pytest.fixture(scope='module')
def files(tmp_path_factory):
    """A config and random weights of its model: digits differ through them, too."""
    folder = tmp_path_factory.mktemp('classifier')
    path = write_config(folder)
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('mmlayerwise'):
        state = MODELS.build(Config.fromfile(path).model).state_dict()
    torch.save({'state_dict': state, 'meta': {}}, folder / 'weights.pth')
    return path, folder / 'weights.pth'


@pytest.fixture
def out(tmp_path):
    return tmp_path / 'results' / 'small'


def run(config, checkpoint, out, *words):
    """Run the tool; return how it exits."""
    common = ['--out', out, '--work-dir', out.parents[1] / 'work', '--max-samples', 60]
    with pytest.raises(SystemExit) as caught:
        tool.main([str(word) for word in (config, checkpoint, *common, '--no-test', *words)])
    assert not list(out.parent.glob('*'))
    return caught.value.code


@pytest.mark.parametrize(
    ('options', 'wrong', 'mend'),
    [
        (
            ['model.backbone.stem_channels=4'],
            'does not fit the config: 7 of 65 parameters differ (backbone.conv1.weight '
            '(8, 1, 3, 3) instead of (4, 1, 3, 3);',
            'Give the checkpoint that was trained with this config',
        ),
        (
            ['model.backbone.base_channels=4', 'model.head.in_channels=32'],
            'is a checkpoint of another model: it has 4 of the 65 parameters',
            'Give the checkpoint that belongs to this config',
        ),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_one_message(options, wrong, mend, files, out, capfd):
    message = run(*files, out, '--cfg-options', *options)
    assert message.startswith(f'error: {files[1]} {wrong}')
    assert mend in message
    assert 'size mismatch' not in ''.join(capfd.readouterr())


def test_a_budget_that_cannot_be_met_shows_the_best_plan(files, out):
    message = run(*files, out, '--budget', 0.001, '--cut', 'none', '--max-drop', 0)
    assert message.startswith('error: The budget cannot be met: 0.1% of the flops may stay')
    assert ' channels stay\n' in message
    assert 'or let the index fall further (drop_limit, --drop-limit)' in message


def test_a_budget_that_magnitude_cannot_meet_is_not_blamed_on_the_index(files, out):
    message = run(*files, out, '--budget', 0.001, '--criterion', 'magnitude')
    assert 'every layer keeps a channel' in message
    assert 'backbone.layer4.1.conv1: 1 of 64 channels stay' in message
    assert 'drop' not in message


def test_a_model_that_cannot_be_traced_is_named_with_the_reason(files, out):
    message = run(*files, out, '--cfg-options', 'model.backbone.type=BackboneThatNobodyCanTrace')
    assert message.startswith('error: ImageClassifier cannot be traced')
    assert 'RuntimeError: no gradients in evaluation mode' in message


def test_a_plan_of_another_model_is_refused(files, out, tmp_path):
    config = tmp_path / 'planned.py'
    model = dict(
        type='mmlayerwise.CompressedModel',
        model=dict(type='mmlayerwise.ImageClassifier'),
        plan=dict(fingerprint='0' * 64, channels={'backbone.conv1': [0]}),
    )
    config.write_text(f'_base_ = {str(files[0])!r}\nmodel = {model!r}\n')
    message = run(config, files[1], out)
    assert message.startswith('error: The plan was made for another model: ')
    assert 'Use the config that the plan was made with' in message


def test_an_index_at_chance_level_says_that_there_is_nothing_to_cut(files, out, tmp_path):
    weights = torch.load(files[1], weights_only=True)
    weights['state_dict']['backbone.conv1.weight'].zero_()
    torch.save(weights, tmp_path / 'dead.pth')
    message = run(files[0], tmp_path / 'dead.pth', out)
    assert message.startswith('error: There is nothing to cut: the index is at chance level')
    assert 'Train the model first' in message


def test_an_interrupted_run_says_that_nothing_was_written(files, out, monkeypatch, capsys):
    def interrupt(page, path):
        assert {file.name for file in path.parent.iterdir()} > {'weights.pth', 'plan.json'}
        raise KeyboardInterrupt

    monkeypatch.setattr('mmlayerwise.engine.compression.write_compression_report', interrupt)
    assert run(*files, out, '--budget', 0.9, '--criterion', 'random', '--head-epochs', 1) == 130
    error = capsys.readouterr().err
    assert error.rstrip().endswith(f'interrupted: nothing was written to {out}')
