import argparse
import importlib.util
import io
from pathlib import Path

import pytest
from rich.console import Console

TOOL = Path(__file__).parents[2] / 'tools/benchmarks/layerwise.py'
NARROW = """
model = dict(
    type='ImageClassifier',
    backbone=dict(type='VGG', depth=16, with_bn=True, widen_factor=0.0625),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='LinearClsHead', num_classes=10, in_channels=32),
)
"""


@pytest.fixture
def benchmark(tmp_path, monkeypatch):
    spec = importlib.util.spec_from_file_location('benchmark_layerwise', TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    (tmp_path / 'narrow.py').write_text(NARROW)
    monkeypatch.setattr(module, 'MODEL', tmp_path / 'narrow.py')
    return module


def test_every_convolution_has_a_row_and_runs_no_more_than_it_needs(benchmark):
    arguments = argparse.Namespace(batch_size=20, repeats=1, threads=1)
    rows = benchmark.measure(arguments, Console(file=io.StringIO()))
    assert [row['num_forward_layers'] for row in rows] == list(range(14))
    assert [row['layers_run'] for row in rows[1:]] == list(range(1, 14))
    assert all(row['backpropagation_seconds'] > 0 for row in rows)
    assert all(row['forward_seconds'] > 0 for row in rows[1:])
    text = benchmark.table(rows)
    assert len(text.splitlines()) == 15
    assert ' 1.00 ' in text.splitlines()[1]


def test_frozen_layers_get_no_gradient_and_keep_their_statistics(benchmark):
    bench = benchmark.Bench(20, 1)
    before = {name: value.clone() for name, value in bench.model.state_dict().items()}
    bench.backward_step(bench.layers[:2])()
    after = bench.model.state_dict()
    changed = {name for name in before if not before[name].equal(after[name])}
    first = {name for name in before if name.rpartition('.')[0] in bench.layers[1].own_modules}
    assert first
    assert not changed & (first | bench.layers[1].parameters)
    assert 'backbone.features.7.weight' in changed
