"""What every process of a distributed training ends with; `custom_imports` finds it."""

from pathlib import Path

import torch
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.registry import HOOKS


@HOOKS.register_module()
class StateOfEachProcess(Hook):
    """Save parameters, and the optimizer's state by the parameters' names."""

    def after_train(self, runner):
        named = dict(runner.model.module.named_parameters())
        optimizer = runner.optim_wrapper.optimizer
        trained = {id(one) for group in optimizer.param_groups for one in group['params']}
        state = {
            'parameters': {name: one.detach().clone() for name, one in named.items()},
            'moments': {name: optimizer.state[one]['exp_avg'] for name, one in named.items()},
            'steps': {int(optimizer.state[one]['step']) for one in named.values()},
            'all_trained': trained == {id(one) for one in named.values()},
        }
        torch.save(state, Path(runner.work_dir) / f'rank_{get_rank()}.pth')
