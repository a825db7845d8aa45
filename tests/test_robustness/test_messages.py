"""What a user sees of a mistake: one message, status 1, no traceback."""

import pytest

from tests.test_robustness.processes import run_tool

CONFIG = """
custom_imports = dict(imports=['mmlayerwise', 'tests.test_robustness.toy'])
default_scope = 'mmengine'
model = dict(type='DropoutClassifier')
train_dataloader = dict(
    dataset=dict(type='NoisyPoints'), sampler=dict(type='DefaultSampler', shuffle=True),
    batch_size=4, num_workers=0)
train_cfg = dict(by_epoch=True, max_epochs=1)
optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.1))
"""


@pytest.mark.parametrize(
    ('change', 'messages'),
    [
        (
            "model.type = 'DropoutClasifier'",
            ["model: no component 'DropoutClasifier'", 'close names: DropoutClassifier'],
        ),
        (
            'optim_wrapper.optimizer.momentun = 0.9',
            ["SGD has no argument 'momentun'; did you mean 'momentum'?"],
        ),
        (
            "train_dataloader.dataset.data_root = '/no/such/folder'",
            ["NoisyPoints has no argument 'data_root'"],
        ),
        ("load_from = '{folder}/foreign.pth'", ['foreign.pth is truncated or is no checkpoint']),
        ("load_from = '{folder}/missing.pth'", ['missing.pth does not exist']),
    ],
)
def test_a_mistake_gives_one_message(tmp_path, change, messages):
    (tmp_path / 'foreign.pth').write_text('something else')
    (tmp_path / 'toy.py').write_text(CONFIG)
    key, _, value = change.format(folder=tmp_path).partition(' = ')
    finished = run_tool(
        'train.py',
        str(tmp_path / 'toy.py'),
        *('--work-dir', str(tmp_path / 'work')),
        *('--cfg-options', f'{key}={value.strip(chr(39))}'),
    )
    assert finished.status == 1, finished.output
    assert 'Traceback' not in finished.output, finished.output
    for message in messages:
        assert message in finished.output
