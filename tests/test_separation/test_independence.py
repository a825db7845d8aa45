import subprocess
import sys

SCRIPT = """
import importlib.util, sys

find_spec = importlib.util.find_spec
importlib.util.find_spec = lambda name, *a: None if name == 'mmengine' else find_spec(name, *a)
import torch
from mmlayerwise.separation import measure_separation

model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
profile = measure_separation(model, [(torch.randn(20, 3), torch.arange(20) % 2)])
print([layer.name for layer in profile.layers])
toolboxes = {'mmengine', 'mmcv', 'mmdet', 'mmseg', 'torchvision', 'sklearn', 'matplotlib'}
print(sorted(toolboxes & sys.modules.keys()))
"""


def test_the_measure_works_without_openmmlab():
    done = subprocess.run(
        [sys.executable, '-c', SCRIPT], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["['0', '2']", '[]']
