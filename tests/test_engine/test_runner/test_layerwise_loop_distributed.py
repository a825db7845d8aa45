import os
import socket

import pytest
import torch
from torch import multiprocessing as mp

from tests.test_engine.test_hooks.runs import runner_of
from tests.test_engine.test_runner.layerwise_runs import Watch, config


def _train(rank, world, port, folder):
    torch.set_num_threads(1)
    os.environ.update(
        RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(world),
        MASTER_ADDR='127.0.0.1', MASTER_PORT=str(port),
    )  # fmt: skip
    import mmlayerwise  # noqa: F401
    from mmlayerwise.engine.distributed import adapt_to_cpu, init_gloo

    cfg = config(f'{folder}/work', 2, images=80, freeze=True)
    cfg.launcher = 'pytorch'
    cfg.env_cfg.mp_cfg.mp_start_method = 'spawn'
    adapt_to_cpu(cfg)
    init_gloo(cfg)
    runner = runner_of(cfg)
    watch = Watch()
    watch.before_train = lambda runner: None
    watch.before_train_iter = lambda *_, **__: None
    watch.after_train_iter = lambda runner, batch_idx, data_batch=None, outputs=None: (
        watch.rows.append(float(outputs['loss']) if 'layer' in outputs else None)
    )
    runner.register_hook(watch)
    runner.train()
    model = runner.model.module
    torch.save(
        dict(
            record=[
                [epoch['separation_index'] for epoch in layer['epochs']]
                for layer in runner.train_loop.record.layers
            ],
            losses=watch.rows,
            weights=dict(model.named_parameters()),
            first=watch.weights[0],
            last=watch.weights[max(watch.weights)],
            trained=model.state_dict(),
            epoch=runner.epoch,
        ),
        f'{folder}/{rank}.pt',
    )


@pytest.mark.slow
def test_two_processes_learn_one_model(tmp_path):
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    mp.spawn(_train, (2, port, str(tmp_path)), nprocs=2)
    one, two = (torch.load(tmp_path / f'{rank}.pt', weights_only=False) for rank in range(2))
    assert one['record'] == two['record']  # so both stop alike
    assert one['epoch'] == two['epoch']
    assert one['losses'] == two['losses']  # their mean, weighted by the triplets
    for name, value in one['weights'].items():
        assert torch.equal(value, two['weights'][name]), name
    # Frozen layers, with their running statistics, are the same and stay as learned.
    for name, value in one['last'].items():
        if 'conv1' in name.split('.')[2] or 'layer1.0' in name:
            assert torch.equal(value, two['last'][name]), name
            key = name.removeprefix('module.')
            assert torch.equal(value, one['trained'][key]), name
    changed = {n for n, v in one['first'].items() if not torch.equal(v, one['last'][n])}
    assert not any('layer2' in name or 'head' in name for name in changed)
