import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

TOOL = Path(__file__).parents[2] / 'tools/benchmarks/neighbors.py'


@pytest.fixture(scope='module')
def benchmark():
    spec = importlib.util.spec_from_file_location('benchmark_neighbors', TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_what_is_timed_side_by_side_finds_the_same(benchmark):
    points = benchmark.make_points(300, 20, torch.device('cpu'))
    runs = benchmark.searches(points, 2, 2**24)
    ours = runs[benchmark.OURS]()
    distances, indices = runs['scikit-learn brute force']()
    assert (ours.indices.numpy() == indices).all()
    np.testing.assert_allclose(ours.distances.numpy(), distances, rtol=1e-3)
    if benchmark.FAISS in runs:
        assert (runs[benchmark.FAISS]()[1][:, 1:] == indices).all()


def test_the_bare_products_are_those_of_the_blocks(benchmark, monkeypatch):
    points, computed = torch.randn(70, 3), []
    mm = torch.mm

    def record(left, right, out):
        computed.append(len(left) * right.shape[1])
        return mm(left, right, out=out)

    monkeypatch.setattr(torch, 'mm', record)
    benchmark.products(points, 32, half=False)
    assert sum(computed) == 70**2
    computed.clear()
    benchmark.products(points, 32, half=True)
    assert sum(computed) == (70**2 + 32**2 + 32**2 + 6**2) / 2


def run(*options):
    command = [sys.executable, str(TOOL), '--num-points', '200', '--dimension', '8', *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=600)


def test_a_tiny_run_writes_times_ratios_and_memory(tmp_path):
    out = tmp_path / 'neighbors.json'
    sizes = ('--memory-points', '2000', '--memory-dimension', '500', '--repeats', '2')
    done = run(*sizes, '--memory', '16', '--out', str(out))
    assert done.returncode == 0, done.stderr
    result = json.loads(out.read_text())
    timed = result['time']
    ratio = (
        timed['median_seconds']['exact search'] / timed['median_seconds']['products of all blocks']
    )
    assert timed['search_to']['products of all blocks'] == pytest.approx(ratio)
    assert all(len(seconds) == 2 for seconds in timed['seconds'].values())
    assert result['memory']['points_mib'] == pytest.approx(2000 * 500 * 4 / 2**20)
    assert 0 <= result['memory']['extra_mib'] < 1024
    assert timed['environment']['command'].endswith(str(out))
    assert 'scikit-learn' in timed['environment']['versions']
    assert 'exact search' in done.stdout


def test_a_part_run_again_leaves_the_other_as_it_was(benchmark, tmp_path):
    out = tmp_path / 'neighbors.json'
    benchmark.write(out, {'time': {'k': 1}, 'memory': {'k': 2}})
    benchmark.write(out, {'memory': {'k': 3}})
    result = json.loads(out.read_text())
    assert (result['time'], result['memory']) == ({'k': 1}, {'k': 3})
    assert result['limits']['extra_mib'] == 1024


@pytest.mark.parametrize(
    ('options', 'message'),
    [(('--k', '200'), 'lower --k'), (('--repeats', '0'), '--repeats must be at least 1')],
)
def test_sizes_that_cannot_be_are_refused(options, message):
    done = run(*options)
    assert done.returncode != 0
    assert message in done.stdout + done.stderr
    assert 'Traceback' not in done.stderr
