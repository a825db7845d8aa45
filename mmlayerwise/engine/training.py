"""The options of ``tools/train.py`` that change a config."""

import os

from mmengine.config import Config
from mmengine.device import get_device
from mmengine.runner import find_latest_checkpoint

from mmlayerwise.utils.errors import UserError


def enable_amp(cfg: Config) -> None:
    """Train in automatic mixed precision.

    Args:
        cfg: The config, changed in place.

    Raises:
        UserError: If there is no accelerator, or the config has a wrapper other than mmengine's.
    """
    if get_device() in ('cpu', 'mps'):
        raise UserError(
            '--amp needs an accelerator, and none was found (mmengine trains in mixed precision on '
            'CUDA, NPU, MLU and MUSA devices); leave --amp out to train on the CPU'
        )
    wrapper = cfg.optim_wrapper
    if wrapper.get('type', 'OptimWrapper') not in ('OptimWrapper', 'AmpOptimWrapper'):
        raise UserError(
            f"--amp replaces optim_wrapper.type='OptimWrapper' by 'AmpOptimWrapper', but this "
            f'config has {wrapper.type!r}; set the precision in the config instead'
        )
    wrapper.type = 'AmpOptimWrapper'
    wrapper.setdefault('loss_scale', 'dynamic')


def enable_auto_scale_lr(cfg: Config) -> None:
    """Scale the learning rate by the ratio of the actual to the base batch size.

    Args:
        cfg: The config, changed in place.

    Raises:
        UserError: If the config does not name the batch size its learning rate was chosen for.
    """
    if 'base_batch_size' not in (cfg.get('auto_scale_lr') or {}):
        raise UserError(
            '--auto-scale-lr needs the batch size that the learning rate of the config was chosen '
            'for; add auto_scale_lr=dict(base_batch_size=16) with that number to the config'
        )
    cfg.auto_scale_lr.enable = True


def resume_from(cfg: Config, checkpoint: str) -> str:
    """Continue an interrupted training.

    Args:
        cfg: The config, changed in place.
        checkpoint: A file, or ``'auto'`` for the latest checkpoint in the work directory; where
            there is none yet, training starts fresh, from ``load_from`` if the config has it.

    Returns:
        What will happen, for the log.

    Raises:
        UserError: If the file does not exist.
    """
    if checkpoint == 'auto':
        checkpoint = find_latest_checkpoint(cfg.work_dir)
        if checkpoint is None:
            cfg.resume = False
            return f'--resume: no checkpoint in {cfg.work_dir} yet, so training starts fresh.'
    elif '://' not in checkpoint and not os.path.isfile(checkpoint):
        raise UserError(
            f'--resume: checkpoint {checkpoint!r} does not exist; give the path of one, or '
            f'--resume alone for the latest in {cfg.work_dir}'
        )
    cfg.resume = True
    cfg.load_from = checkpoint
    return f'--resume: training continues from {checkpoint}.'
