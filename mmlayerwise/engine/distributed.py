"""Distributed jobs on machines without an accelerator, which mmengine does not start by itself."""

import atexit
import datetime
import os
import subprocess
from collections.abc import Sequence
from typing import Any

from mmengine.config import Config
from mmengine.device import get_device
from mmengine.logging import print_log
from mmengine.model import MMDistributedDataParallel, revert_sync_batchnorm
from mmengine.registry import MODEL_WRAPPERS
from torch import distributed, nn

# Environment variables in which a launcher tells a process its place.
_PLACE = {
    'slurm': {
        'RANK': 'SLURM_PROCID',
        'WORLD_SIZE': 'SLURM_NTASKS',
        'LOCAL_RANK': 'SLURM_LOCALID',
    },
    'mpi': {
        'RANK': 'OMPI_COMM_WORLD_RANK',
        'WORLD_SIZE': 'OMPI_COMM_WORLD_SIZE',
        'LOCAL_RANK': 'OMPI_COMM_WORLD_LOCAL_RANK',
    },
}
_DEFAULT_TIMEOUT_SECONDS = 1800


@MODEL_WRAPPERS.register_module()
class CPUDistributedDataParallel(MMDistributedDataParallel):
    """Shares a model's gradients among processes that compute on the CPU.

    Synchronised batch normalisation, which torch has for accelerators only, becomes the ordinary
    one: each process normalises by its own batch. The log says so.

    Args:
        module: The model.
        device_ids: Ignored; mmengine passes the device of an accelerator.
        **kwargs: As for :class:`mmengine.model.MMDistributedDataParallel`.
    """

    def __init__(
        self, module: nn.Module, device_ids: Sequence[int] | None = None, **kwargs: Any
    ) -> None:
        count = sum(isinstance(part, nn.SyncBatchNorm) for part in module.modules())
        if count:
            module = revert_sync_batchnorm(module)
            print_log(
                f'{count} SyncBN layers work as BN: each process normalises by its own batch, '
                'because torch synchronises batch normalisation on accelerators only.',
                'current',
            )
        super().__init__(module=module, device_ids=None, **kwargs)


def adapt_to_cpu(cfg: Config) -> list[str]:
    """Change a distributed config so that it runs where there is no accelerator.

    Args:
        cfg: The config, changed in place: the backend becomes gloo, and the model wrapper is not
            told of devices, as :class:`torch.nn.parallel.DistributedDataParallel` demands on a CPU.

    Returns:
        What was changed, for the log; empty for a single process or where an accelerator is.
    """
    if cfg.launcher == 'none' or get_device() != 'cpu':
        return []
    wrapper = cfg.get('model_wrapper_cfg') or {
        'broadcast_buffers': False,
        'find_unused_parameters': cfg.get('find_unused_parameters', False),
    }
    if wrapper.get('type', 'MMDistributedDataParallel') == 'MMDistributedDataParallel':
        wrapper = {**wrapper, 'type': 'CPUDistributedDataParallel'}
    cfg.model_wrapper_cfg = {**wrapper, 'device_ids': None}

    asked = cfg.get('env_cfg', {}).get('dist_cfg', {}).get('backend', 'nccl')
    cfg.merge_from_dict({'env_cfg.dist_cfg.backend': 'gloo'})
    note = 'No accelerator on this machine: the processes compute on the CPU'
    return [f'{note}.' if asked == 'gloo' else f'{note} and talk over gloo instead of {asked}.']


def init_gloo(cfg: Config) -> None:
    """Join the process group over gloo, unless that has happened.

    ``mmengine.dist.init_dist`` selects a CUDA device before it joins, whatever the backend.

    Args:
        cfg: The config; ``env_cfg.dist_cfg.timeout`` in seconds is honoured.

    Raises:
        KeyError: If the launcher that ``cfg.launcher`` names did not start this process.
    """
    if distributed.is_initialized():
        return
    for ours, theirs in _PLACE.get(cfg.launcher, {}).items():
        os.environ[ours] = os.environ[theirs]
    if cfg.launcher == 'slurm' and 'MASTER_ADDR' not in os.environ:
        os.environ['MASTER_ADDR'] = _first_slurm_host()
    os.environ.setdefault('MASTER_PORT', '29500')
    seconds = cfg.env_cfg.dist_cfg.get('timeout', _DEFAULT_TIMEOUT_SECONDS)
    distributed.init_process_group('gloo', timeout=datetime.timedelta(seconds=seconds))
    # While the interpreter is taken down, a thread of gloo that still runs would abort the process.
    atexit.register(_leave_group)


def _leave_group() -> None:
    if distributed.is_initialized():
        distributed.destroy_process_group()


def _first_slurm_host() -> str:
    """Return the first host of the slurm job, on which rank 0 runs."""
    command = ['scontrol', 'show', 'hostnames', os.environ['SLURM_NODELIST']]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[0]
