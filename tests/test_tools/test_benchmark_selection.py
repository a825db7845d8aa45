import importlib.util
import json
from pathlib import Path

import pytest

from mmlayerwise.separation.selection import rank_features

TOOL = Path(__file__).parents[2] / 'tools' / 'benchmarks' / 'selection.py'


@pytest.fixture(scope='module')
def tool():
    spec = importlib.util.spec_from_file_location('benchmark_selection', TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize('by_products', [False, True])
def test_naive_forms_choose_what_the_greedy_search_chooses(tool, by_products):
    features, labels = tool.make_maps(60, 7, 2)
    expected = rank_features(features, labels).order
    assert tool.naive_ranking(features, labels, by_products) == expected


def test_case_tells_time_memory_and_order(tool):
    found = tool.run_case('greedy', 120, 8, 2, None)
    assert found['seconds'] > 0
    assert sorted(found['order']) == list(range(8))
    assert found['features_mib'] == round(120 * 8 * 4 * 4 / 2**20, 1)
    naive = tool.run_case('naive', 120, 8, 2, None)
    assert naive['order'] == found['order']


def test_verdict_compares_with_the_limits(tool):
    def case(seconds, order=(0, 1)):
        return {'seconds': seconds, 'order': list(order)}

    found = {
        'greedy, small case': case(2.0),
        'naive, small case': case(70.0),
        'naive by products, small case': case(30.0),
        'greedy with shortlist': case(50.0),
        'greedy, exact': case(100.0),
    }
    verdict = tool.judge(found)
    assert verdict['naive_over_greedy'] == 35
    assert verdict['naive_by_products_over_greedy'] == 15
    assert verdict['same_order']
    assert verdict['within_limits']
    slow = {**found, 'greedy, exact': case(181.0)}
    assert not tool.judge(slow)['within_limits']
    other = {**found, 'naive, small case': case(50.0, (1, 0))}
    assert not tool.judge(other)['same_order']
    assert not tool.judge(other)['within_limits']


def test_result_file_holds_verdict_and_environment(tool, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(
        tool,
        'in_a_process',
        lambda case: tool.run_case(*[case[0], *map(int, case[1:4]), int(case[4]) or None]),
    )
    path = tmp_path / 'selection.json'
    tool.main(['--samples', '60', '--maps', '6', '--small', '50', '5', '--out', str(path)])
    result = json.loads(path.read_text())
    assert result['verdict']['same_order'] is True
    assert set(result['cases']['greedy, exact']) >= {'seconds', 'peak_growth_mib'}
    assert 'order' not in result['cases']['greedy, exact']
    assert 'torch' in result['environment']['versions']
    assert 'naive / greedy' in capsys.readouterr().out


def test_counts_below_one_are_refused(tool, tmp_path, capsys):
    with pytest.raises(SystemExit) as caught:
        tool.main(['--samples', '0', '--out', str(tmp_path / 'x.json')])
    assert 'must be at least 1' in str(caught.value)
