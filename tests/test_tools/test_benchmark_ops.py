import importlib.util
import json
import sys
from pathlib import Path

import pytest
import torch
from mmcv.ops import nms, roi_align

from mmlayerwise.utils.errors import UserError
from tests.test_tools.tools import run_process

TOOL = Path(__file__).parents[2] / 'tools/benchmarks/ops.py'
CPU = torch.device('cpu')
MEASURE_64_MEBIBYTES = f"""
import importlib.util, json, sys
import torch
spec = importlib.util.spec_from_file_location('benchmark_ops', {str(TOOL)!r})
benchmark = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(benchmark)
def build(device):
    return lambda: torch.ones(64 << 18, device=device).sum(), lambda: None
case = benchmark.Case('ones', '64 MiB', build, 'nothing')
print(json.dumps(benchmark.measure(case, torch.device('cpu'), repeats=2)))
"""


@pytest.fixture(scope='module')
def benchmark():
    spec = importlib.util.spec_from_file_location('benchmark_ops', TOOL)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def test_the_reference_of_nms_computes_the_same(benchmark):
    boxes, scores = benchmark.scattered_boxes(300, CPU)
    kept = benchmark.row_by_row_nms(boxes, scores, 0.3)
    assert kept.tolist() == nms(boxes, scores, 0.3)[1].tolist()


def test_the_reference_of_roi_align_computes_the_same(benchmark):
    maps = torch.randn(1, 3, 50, 80)
    rois = benchmark.scattered_regions(20, 50, 80, CPU)
    expected = benchmark.grid_sample_align(maps, rois, 7, 2)
    torch.testing.assert_close(
        roi_align(maps, rois, 7, 1.0, 2, 'avg', True), expected, rtol=1e-4, atol=1e-4
    )


@pytest.mark.skipif(sys.platform != 'linux', reason='memory is read from /proc')
def test_memory_of_the_call_is_measured():
    # In a process of its own, as the benchmark does: another test's freed memory would be reused.
    finished = run_process([sys.executable, '-c', MEASURE_64_MEBIBYTES])
    assert finished.returncode == 0, finished.stderr
    result = json.loads(finished.stdout.splitlines()[-1])
    assert 60 < result['extra_mib'] < 80
    assert result['ratio'] > 1


def test_limits(benchmark):
    case = benchmark.Case('op', 'size', None, 'reference', limit_ms=10, limit_ratio=2)
    good = dict(operator_min_ms=9, ratio=1.5, extra_mib=100)
    assert benchmark.within_limits(case, good)
    assert not benchmark.within_limits(case, {**good, 'operator_min_ms': 11})
    assert not benchmark.within_limits(case, {**good, 'ratio': 3})
    assert not benchmark.within_limits(case, {**good, 'extra_mib': 2000})
    assert benchmark.within_limits(benchmark.Case('op', 'size', None), good) is None


def test_an_unknown_operator_lists_those_there_are(benchmark, monkeypatch):
    monkeypatch.setattr(sys, 'argv', ['ops.py', '--only', 'no_such_operator'])
    threads = torch.get_num_threads()
    with pytest.raises(UserError, match=r'matches no operator; there are: deform_conv2d, .*nms'):
        benchmark.main()
    torch.set_num_threads(threads)
