import importlib.util
import json
import sys
import time

import pytest

from mmlayerwise.utils.errors import UserError
from tests.test_tools.tools import ROOT, run_process

TOOL = ROOT / 'tools/benchmarks/measure_overhead.py'


@pytest.fixture(scope='module')
def benchmark():
    spec = importlib.util.spec_from_file_location('benchmark_overhead', TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_inner_parts_are_not_counted_in_outer_ones(benchmark, monkeypatch):
    now = iter([0, 1, 4, 6, 8, 10])
    monkeypatch.setattr(time, 'perf_counter', lambda: next(now))
    clock = benchmark.Clock()
    with clock.part('outer'):  # 0 to 10
        with clock.part('inner'):  # 1 to 4
            pass
        clock.timed('inner', lambda: None)()  # 6 to 8
    assert clock.seconds == {'outer': 5, 'inner': 5}


def test_methods_are_timed_and_restored(benchmark):
    class Worker:
        def work(self, value):
            return value + 1

    original, clock = Worker.work, benchmark.Clock()
    with clock.methods([('working', Worker, 'work')]):
        assert Worker().work(1) == 2
    assert clock.seconds.keys() == {'working'}
    assert Worker.work is original


def run(*options):
    return run_process([sys.executable, TOOL, *options])


def test_a_tiny_run_writes_times_parts_and_memory(tmp_path):
    config, out = ROOT / 'configs/quickstart/classification.py', tmp_path / 'overhead.json'
    sizes = ('--max-samples', '40', '--epochs', '3', '--iterations', '2', '--epoch-images', '1000')
    done = run('--config', config, *sizes, '--out', out)
    assert done.returncode == 0, done.stderr
    result = json.loads(out.read_text())
    assert len(result['iteration_seconds']) == 6
    assert result['num_samples'] == 40
    iterations = -(-1000 // result['batch_size'])
    median = sorted(result['iteration_seconds'])[2:4]
    assert result['epoch']['iterations'] == iterations
    assert result['epoch']['seconds'] == pytest.approx(iterations * sum(median) / 2)
    common = {'neighbours', 'class means', 'reading the layers'}
    passes = {'forward passes', 'loading images'}
    for way, found in result['forward_passes'].items():
        assert len(found['measurement_seconds']) == 3
        measured = sorted(found['measurement_seconds'])[1]
        assert found['overhead'] == pytest.approx(measured / result['epoch']['seconds'])
        parts = found['seconds_of_parts']
        assert common <= parts.keys()
        assert passes & parts.keys() == (passes if way == 'own' else set())
        assert sum(parts.values()) == pytest.approx(sum(found['measurement_seconds']) / 3, rel=0.1)
    assert result['forward_passes'].keys() == {'own', 'validation'}
    assert len(result['memory']['resident_mib']) == 3
    assert 'extrapolated' in result['epoch']['how']
    assert 'share of the epoch' in done.stdout


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (('--epochs', '0'), '--epochs must be at least 1'),
        (('--config', 'no.py'), 'no config no.py'),
    ],
)
def test_bad_options_are_refused(options, message, benchmark, monkeypatch):
    monkeypatch.setattr('sys.argv', ['measure_overhead.py', *options])
    with pytest.raises(UserError, match=message):
        benchmark.parse_args()
