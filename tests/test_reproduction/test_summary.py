import json

import pytest

from mmlayerwise.reproduction.runs import save_run
from mmlayerwise.reproduction.settings import Settings
from mmlayerwise.reproduction.summary import load_runs, summarise, to_json
from mmlayerwise.utils.errors import UserError
from tests.test_reproduction.toy import result

RUNS = [
    result('qls_frozen', 0, 61.0, 12.0),
    result('qls_frozen', 1, 64.0, 14.0),
    # A seed that backpropagation lacks is no pair.
    result('qls_frozen', 2, 91.0, 99.0),
    result('backpropagation', 0, 60.0, 10.0),
    result('backpropagation', 1, 62.0, 10.0),
]


def test_rows_stand_in_the_order_of_the_table():
    summary = summarise('first-layer', RUNS)
    assert [row['method'] for row in summary['rows']] == ['backpropagation', 'qls_frozen']
    assert summary['metric'] == 'accuracy'


def test_a_row_has_the_numbers_of_its_seeds_and_pairs():
    plain, frozen = summarise('first-layer', RUNS)['rows']
    assert frozen['seeds'] == [0, 1, 2]
    assert frozen['values'] == [61.0, 64.0, 91.0]
    assert frozen['mean'] == 72
    assert frozen['difference']['mean'] == 1.5
    assert frozen['difference']['count'] == 2
    # Differences 1 and 2: standard error 0.5, t of one degree at 97.5 %: 12.7062.
    assert frozen['difference']['low'] == pytest.approx(1.5 - 0.5 * 12.7062, abs=1e-4)
    assert frozen['time_ratio'] == pytest.approx(26 / 20)
    assert (plain['difference'], plain['time_ratio']) == (None, None)
    assert plain['deviation'] == pytest.approx(2**0.5)


def test_the_lectures_numbers_stand_beside():
    plain, frozen = summarise('first-layer', RUNS)['rows']
    assert (plain['printed'], frozen['printed']) == (92.95, 94.81)
    assert frozen['printed_difference'] == 1.86
    assert frozen['printed_minutes'] is None
    (_, one) = summarise(
        'forward-layers', [result(), result('forward_13', 0, 40.0)]
    )['rows']  # fmt: skip
    assert one['printed_time_ratio'] == pytest.approx((81 * 60 + 14) / (144 * 60 + 16))


def test_error_rates_are_what_is_left_of_the_accuracy():
    runs = [
        result(model='vdcnn9', dataset='ag_news', accuracy=90.0),
        result('layer_wise', model='vdcnn9', dataset='ag_news', accuracy=88.0),
    ]
    plain, ours = summarise('text', runs)['rows']
    assert (plain['mean'], ours['mean']) == (10, 12)
    assert ours['difference']['mean'] == 2
    assert ours['printed_difference'] == -0.82


def test_time_is_the_processors_on_a_cpu_and_the_walls_on_a_gpu():
    for device, seconds in (('cpu', 10), ('cuda', 20)):
        summary = summarise('first-layer', [result(device=device)])
        assert summary['rows'][0]['seconds']['mean'] == seconds


def test_what_runs_do_not_share_is_left_out_and_all_commands_are_kept():
    runs = [result(seed=seed) for seed in range(2)]
    runs[1]['environment'].update(processor='another', command='python tools/dev/reproduce.py x')
    environment = summarise('first-layer', runs)['environment']
    assert 'processor' not in environment
    assert environment['python'] == '3.11.7'
    assert len(environment['command']) == 2


def test_results_are_read_from_their_folder(tmp_path):
    for run in RUNS:
        save_run(run, tmp_path / f'{run["method"]}-{run["seed"]}.json')
    found = load_runs(tmp_path, Settings())
    assert summarise('first-layer', found) == summarise('first-layer', RUNS)
    assert json.loads(to_json(summarise('first-layer', found)))['version'] == 1


def test_no_results_and_those_of_other_settings_are_refused(tmp_path):
    with pytest.raises(UserError, match=r'no result in .* yet; run without --render-only'):
        load_runs(tmp_path, Settings())
    save_run(RUNS[0], tmp_path / 'a.json')
    with pytest.raises(UserError, match='epochs 200, now 3'):
        load_runs(tmp_path, Settings(epochs=3))
