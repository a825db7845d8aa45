import json
import re
from pathlib import Path

import pytest
from mmengine.config import Config

from mmlayerwise.compression import CompressionPlan, apply_plan
from mmlayerwise.utils.markdown import split_at_marks
from tests.test_tools.tools import ROOT, load_tool
from tests.zoo.configs import build, scope_of

RESULTS = sorted((ROOT / 'results/compression').glob('*.json'))


@pytest.fixture(scope='module')
def tool():
    return load_tool('dev/compression_table')


def test_table_in_the_readme_is_current(tool):
    found = split_at_marks(tool.DOCUMENT.read_text(encoding='utf-8'), tool.MARK, tool.DOCUMENT)[1]
    assert found == tool.table(), 'run python tools/dev/compression_table.py'


def test_every_run_has_its_config_and_a_command_anyone_can_type(tool):
    for path in tool.RESULTS.glob('*.json'):
        run = json.loads(path.read_text(encoding='utf-8'))
        assert (ROOT / run['config']).is_file()
        assert Path(run['config']).stem == path.stem
        assert not re.search(r'\s/|=/|~', run['environment']['command'])


@pytest.mark.parametrize('path', RESULTS, ids=lambda path: path.stem)
def test_the_surgery_of_today_gives_the_size_that_was_recorded(path):
    run = json.loads(path.read_text(encoding='utf-8'))
    cfg = Config.fromfile(ROOT / run['config'])
    size = re.search(r'-(\d+)x(\d+)_', path.stem)
    size = tuple(map(int, size.groups())) if size else (32, 32)
    cost = apply_plan(
        build(cfg.model, scope_of(cfg)), CompressionPlan.from_dict(run['plan']), size
    ).after
    recorded = run['results']['si']['cost']
    assert (cost.parameters, cost.flops) == (recorded['parameters'], recorded['flops'])


def test_rows_have_shares_metrics_and_what_stayed(tool, tmp_path):
    run = {
        'config': 'configs/compression/net.py',
        'environment': {'command': 'python tools/dev/compression_evidence.py net.py'},
        'settings': {'retrain': 0.1},
        'index': {'original': [{'block': 'a'}, {'block': 'b'}, {'block': 'c'}]},
        'plan': {'cut': 'b', 'channels': {'a': [0]}},
        'results': {
            'original': {'cost': {'parameters': 1000, 'flops': 2e6}, 'test': {'mIoU': 20.04}},
            'si': {
                'cost': {'parameters': 250, 'flops': 1e6},
                'test': {'mIoU': 18.0},
                'test_after_retraining': {'mIoU': 19.96},
            },
        },
    }
    (tmp_path / 'net.json').write_text(json.dumps(run))
    text = tool.table(tmp_path)
    assert 'Kept: 2 of 3 blocks; thinned: 1 layer.' in text
    assert '| original | 1,000 (100.0%) | 2.00 M (100.0%) | 20.0 |  |' in text
    assert '| **separation index** | 250 (25.0%) | 1.00 M (50.0%) | 18.0 | 20.0 |' in text
    assert 'mIoU, % | after 10% of the training again |' in text


def test_a_folder_without_results_says_so(tool, tmp_path):
    assert tool.table(tmp_path) == 'Nothing has been run yet.\n'
