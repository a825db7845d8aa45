"""How the tests run a tool: in this process, or as a user does, in one of its own."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
TOY_CONFIG = str(Path(__file__).with_name('toy_config.py'))


def load_tool(name):
    """Import ``tools/<name>.py``."""
    spec = importlib.util.spec_from_file_location(f'tools_{name}', ROOT / 'tools' / f'{name}.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run_process(command, environment=None, timeout=300):
    """Run a command with this interpreter in reach; return the finished process."""
    variables = {
        **os.environ,
        'PYTHON': sys.executable,
        'PYTHONPATH': str(ROOT),
        'OMP_NUM_THREADS': '1',
        **(environment or {}),
    }
    return subprocess.run(
        [str(part) for part in command],
        env=variables,
        capture_output=True,
        text=True,
        timeout=timeout,
    )


def log_of(work_dir):
    """Return the text of every log in a work directory, oldest first."""
    return '\n'.join(path.read_text() for path in sorted(Path(work_dir).glob('*/*.log')))
