"""What a measured number depends on: command, versions, hardware."""

import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

# Distributions whose version can change a result; the forks and the originals share import names.
_DISTRIBUTIONS = (
    'mmlayerwise',
    'torch',
    'torchvision',
    'numpy',
    'onedl-mmengine',
    'onedl-mmcv',
    'onedl-mmdetection',
    'onedl-mmsegmentation',
    'mmengine',
    'mmcv-lite',
    'mmcv',
    'mmdet',
    'mmsegmentation',
    'faiss-cpu',
    'scikit-learn',
)


def describe_environment() -> dict[str, object]:
    """Describe the run for a result file.

    Returns:
        The command line, the versions of Python and of the installed packages that matter, the
        processor with its number of cores and torch threads, and the GPU if there is one. No host
        name and no path outside the command line, so that result files can be published.
    """
    return {
        'command': ' '.join(['python', _relative(sys.argv[0]), *sys.argv[1:]]),
        'python': platform.python_version(),
        'versions': _installed_versions(),
        'processor': _processor_name(),
        'cores': len(os.sched_getaffinity(0))
        if hasattr(os, 'sched_getaffinity')
        else os.cpu_count(),
        'torch_threads': torch.get_num_threads(),
        'gpu': torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def _relative(path: str) -> str:
    """Return a path as a user in the repository's root would type it."""
    try:
        return str(Path(path).resolve().relative_to(Path.cwd()))
    except ValueError:
        return Path(path).name


def _installed_versions() -> dict[str, str]:
    versions = {}
    for name in _DISTRIBUTIONS:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions


def _processor_name() -> str:
    """Return the processor's name; Linux does not tell it through :mod:`platform`."""
    cpuinfo = Path('/proc/cpuinfo')
    if cpuinfo.is_file():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith('model name'):
                return line.partition(':')[2].strip()
    return platform.processor() or platform.machine()
