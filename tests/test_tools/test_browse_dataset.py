import mmcv
import numpy as np
import pytest

from tests.test_tools.tools import ROOT, load_tool

pytest.importorskip('mmdet')
pytest.importorskip('mmseg')

browse = load_tool('browse_dataset')
QUICKSTART = ROOT / 'configs' / 'quickstart'


@pytest.mark.parametrize('name', sorted(path.stem for path in QUICKSTART.glob('*.py')))
def test_every_task_gives_pictures_and_a_contact_sheet(name, tmp_path, capsys):
    browse.main([str(QUICKSTART / f'{name}.py'), '--number=2', f'--output-dir={tmp_path}'])
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ['000000.png', '000001.png', 'contact_sheet.png']
    first, second, sheet = (mmcv.imread(tmp_path / name) for name in names)
    assert min(first.shape[:2]) >= 320
    assert first.std() > 10
    assert not np.array_equal(first, second)
    assert sheet.shape[1] > first.shape[1] + second.shape[1]
    assert f'contact sheet: {tmp_path}' in capsys.readouterr().out


CONFIG = """
_base_ = '{base}'
_flip = dict(type='RandomFlip', prob=1.0)
_pack = dict(type='mmlayerwise.PackClassificationInputs')
train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='RepeatDataset',
        times=2,
        dataset=dict(type='mmlayerwise.Digits', pipeline=[_flip, _pack]),
    )
)
"""


@pytest.fixture
def flipping(tmp_path):
    path = tmp_path / 'flipping.py'
    path.write_text(CONFIG.format(base=QUICKSTART / 'classification.py'))
    return path


def _first(flipping, tmp_path, *options):
    browse.main([str(flipping), '--number=1', f'--output-dir={tmp_path / "out"}', *options])
    # Without the caption.
    return mmcv.imread(tmp_path / 'out' / '000000.png')[:320]


def test_original_shows_the_data_without_augmentation(flipping, tmp_path):
    flipped = _first(flipping, tmp_path)
    original = _first(flipping, tmp_path, '--mode=original')
    assert np.array_equal(flipped, original[:, ::-1])
    assert not np.array_equal(flipped, original)


def test_shuffle_draws_by_its_seed(tmp_path):
    def names(seed):
        folder = tmp_path / f'{seed}'
        options = ['--number=3', '--shuffle', f'--seed={seed}', f'--output-dir={folder}']
        browse.main([str(QUICKSTART / 'classification.py'), '--phase=val', *options])
        return sorted(path.name for path in folder.iterdir())

    assert names(1) != names(2)
    assert '000000.png' not in names(1)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (['configs/quickstart/detektion.py'], 'detection.py'),
        (
            [str(QUICKSTART / 'classification.py'), '--cfg-options', 'test_dataloader=None'],
            'choose --phase from: train, val',
        ),
    ],
)
def test_mistakes_give_one_message(options, message):
    with pytest.raises(SystemExit) as error:
        browse.main([*options, '--phase=test'])
    assert str(error.value).startswith('error: ')
    assert message in str(error.value)


def test_a_number_below_one_is_refused(capsys):
    with pytest.raises(SystemExit):
        browse.main(['config.py', '--number=0'])
    assert 'at least 1' in capsys.readouterr().err


TEXTS = """
_base_ = '{base}'
train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='RepeatDataset',
        times=2,
        dataset=dict(type='AGNews', data_root='{root}', pipeline={{{{_base_.train_pipeline}}}}),
    )
)
"""


@pytest.mark.parametrize(
    ('mode', 'shown'), [('transformed', 'goal (2□1) for fc'), ('original', 'Goal (2@1) for FC')]
)
def test_texts_are_listed(mode, shown, tmp_path, capsys):
    (tmp_path / 'train.csv').write_text('"2","Goal (2@1)","for FC"\n"1","Talks","go on"\n')
    config = tmp_path / 'texts.py'
    base = ROOT / 'configs' / 'vdcnn' / 'vdcnn9_1xb128-15e_ag-news.py'
    config.write_text(TEXTS.format(base=base, root=tmp_path))
    browse.main([str(config), '--number=1', f'--mode={mode}', f'--output-dir={tmp_path / "out"}'])
    out = capsys.readouterr().out
    assert 'Sports' in out
    assert shown in ' '.join(out.split())
    assert f'1 of 2 texts (train, {mode})' in out
    assert not (tmp_path / 'out').exists()
