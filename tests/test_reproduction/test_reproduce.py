import json

import pytest
import torch

from mmlayerwise.reproduction import reproduce as module
from mmlayerwise.reproduction.reproduce import reproduce, use_device
from mmlayerwise.reproduction.settings import preset_plan
from mmlayerwise.utils.errors import UserError
from tests.test_reproduction.toy import cifar10, result  # noqa: F401

PLAN = preset_plan('first-layer', 'reduced').change(
    {}, methods=('backpropagation', 'qls_frozen'), num_seeds=2
)


@pytest.fixture
def executed(monkeypatch, cifar10):  # noqa: F811
    """The names of the runs, which take no time."""
    names = []

    def execute(run, settings, work_dir, report):
        names.append(run.name)
        report(1.0)
        assert settings == PLAN.settings
        assert work_dir.name == run.name
        accuracy = 50 + run.seed + (run.method == 'qls_frozen')
        return result(run.method, run.seed, accuracy, **settings.to_dict())

    monkeypatch.setattr(module, 'execute', execute)
    return names


def test_what_is_done_is_not_run_again(executed, tmp_path, capsys):
    pytest.importorskip('mmdet')
    out = tmp_path / 'out'
    reproduce(PLAN, out, tmp_path / 'work')
    assert len(executed) == 4
    (out / 'runs' / 'vgg16-cifar10-qls_frozen-seed1.json').unlink()
    reproduce(PLAN, out, tmp_path / 'work')
    assert executed[4:] == ['vgg16-cifar10-qls_frozen-seed1']
    more = PLAN.change({}, num_seeds=3)
    reproduce(more, out, tmp_path / 'work')
    assert [name[-5:] for name in executed[5:]] == ['seed2'] * 2
    summary = json.loads((out / 'summary.json').read_text())
    assert [row['mean'] for row in summary['rows']] == [51, 52]
    told = capsys.readouterr().out
    assert 'vgg16-cifar10-qls_frozen-seed2: accuracy 53.00 %' in told
    assert f'summary:   {out / "summary.json"}' in told


def test_results_are_tables_pictures_and_a_part_of_a_page(executed, tmp_path):
    out, page = tmp_path / 'name', tmp_path / 'page.md'
    page.write_text('<!-- name: begin -->\n<!-- name: end -->\n')
    reproduce(PLAN, out, tmp_path / 'work', docs=page)
    readme = (out / 'README.md').read_text()
    assert readme.startswith('# Learning the first convolution')
    table = page.read_text().split('-->\n')[1].rpartition('<!--')[0]
    assert table.startswith('| network |')
    assert table in readme
    for picture in out.glob('*.png'):
        assert f'](./{picture.name})' in readme


def test_rendering_alone_trains_nothing(executed, tmp_path):
    with pytest.raises(UserError, match='no result in'):
        reproduce(PLAN, tmp_path / 'out', tmp_path / 'work', train=False)
    assert not executed


def test_results_of_other_settings_are_refused_before_training(executed, tmp_path):
    reproduce(PLAN, tmp_path / 'out', tmp_path / 'work')
    other = PLAN.change({'epochs': 99}, num_seeds=9)
    with pytest.raises(UserError, match='epochs 6, now 99'):
        reproduce(other, tmp_path / 'out', tmp_path / 'work')
    assert len(executed) == 4


def test_missing_data_shows_before_the_first_run(executed, tmp_path):
    plan = preset_plan('first-layer', 'reduced').change({}, datasets=('cifar10', 'cifar100'))
    with pytest.raises(UserError, match=r'download_dataset\.py cifar100`'):
        reproduce(plan, tmp_path / 'out', tmp_path / 'work')
    assert not executed


@pytest.mark.skipif(torch.cuda.is_available(), reason='there is a CUDA device')
def test_a_missing_gpu_is_told():
    use_device('cpu')
    with pytest.raises(UserError, match='torch finds no CUDA device here'):
        use_device('cuda')
