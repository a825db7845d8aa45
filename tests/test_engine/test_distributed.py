import os
import socket

import pytest
import torch
from mmengine.config import Config
from torch import distributed, nn

from mmlayerwise.engine.distributed import (
    CPUDistributedDataParallel,
    adapt_to_cpu,
    init_gloo,
)

pytestmark = pytest.mark.skipif(
    torch.cuda.is_available(), reason='about machines without an accelerator'
)
PLACES = {
    'pytorch': {'RANK': '0', 'WORLD_SIZE': '1', 'LOCAL_RANK': '0'},
    'slurm': {'SLURM_PROCID': '0', 'SLURM_NTASKS': '1', 'SLURM_LOCALID': '0'},
    'mpi': {
        'OMPI_COMM_WORLD_RANK': '0',
        'OMPI_COMM_WORLD_SIZE': '1',
        'OMPI_COMM_WORLD_LOCAL_RANK': '0',
    },
}


@pytest.fixture
def alone(monkeypatch):
    """Join a process group of one as a launcher would start it; leave it in the end."""
    with socket.socket() as listener:
        listener.bind(('127.0.0.1', 0))
        port = listener.getsockname()[1]
    monkeypatch.setattr(os, 'environ', {**os.environ, 'MASTER_PORT': str(port)})

    def join(launcher):
        os.environ.update(PLACES[launcher], MASTER_ADDR='127.0.0.1')
        cfg = Config(dict(launcher=launcher))
        notes = adapt_to_cpu(cfg)
        init_gloo(cfg)
        return cfg, notes

    yield join
    if distributed.is_initialized():
        distributed.destroy_process_group()


def test_one_process_needs_no_change():
    cfg = Config(dict(launcher='none'))
    assert adapt_to_cpu(cfg) == []
    assert cfg.to_dict() == {'launcher': 'none'}


def test_nccl_gives_way_to_gloo_and_other_settings_stay():
    cfg = Config(dict(launcher='pytorch', env_cfg=dict(dist_cfg=dict(backend='nccl', timeout=9))))
    assert 'gloo instead of nccl' in adapt_to_cpu(cfg)[0]
    assert cfg.env_cfg.dist_cfg == {'backend': 'gloo', 'timeout': 9}


def test_a_wrapper_of_the_config_keeps_its_class_and_is_told_of_no_device():
    wrapper = dict(type='MMSeparateDistributedDataParallel', find_unused_parameters=True)
    cfg = Config(dict(launcher='pytorch', model_wrapper_cfg=wrapper))
    adapt_to_cpu(cfg)
    assert cfg.model_wrapper_cfg == {**wrapper, 'device_ids': None}


@pytest.mark.parametrize('launcher', sorted(PLACES))
def test_every_launcher_joins_over_gloo(alone, launcher):
    alone(launcher)
    assert distributed.get_backend() == 'gloo'
    assert (distributed.get_rank(), distributed.get_world_size()) == (0, 1)
    assert os.environ['LOCAL_RANK'] == '0'


def test_the_wrapper_trains_synchronised_normalisation_as_the_ordinary_one(alone):
    alone('pytorch')
    model = nn.Sequential(nn.SyncBatchNorm(3), nn.Linear(3, 1))
    wrapped = CPUDistributedDataParallel(module=model, device_ids=[0], broadcast_buffers=False)
    inputs = torch.randn(8, 3, generator=torch.Generator().manual_seed(0))
    wrapped(inputs).square().sum().backward()

    reference = nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 1))
    reference.load_state_dict(wrapped.module.state_dict())
    reference(inputs).square().sum().backward()
    for ours, theirs in zip(wrapped.parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad)
