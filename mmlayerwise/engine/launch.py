"""From a command line to a runner: what ``tools/train.py`` and ``tools/test.py`` share."""

import argparse
import difflib
import os
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from mmengine.config import Config, DictAction
from mmengine.model import BaseTTAModel, is_model_wrapper
from mmengine.registry import RUNNERS
from mmengine.runner import Runner
from torch import nn

from mmlayerwise.engine.distributed import adapt_to_cpu, init_gloo
from mmlayerwise.utils.checkpoint_check import check_checkpoint
from mmlayerwise.utils.config_check import check_config
from mmlayerwise.utils.data_check import check_data
from mmlayerwise.utils.errors import UserError

LAUNCHERS = ('none', 'pytorch', 'slurm', 'mpi')


def add_common_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that training and testing share.

    Args:
        parser: The parser of a tool whose first positional argument is the config.
    """
    parser.add_argument(
        '--work-dir',
        metavar='DIR',
        help='folder for logs, checkpoints and results '
        '(default: work_dir of the config, else ./work_dirs/<config name>)',
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        metavar='KEY=VALUE',
        help='override settings of the config, such as model.backbone.depth=18 or '
        'train_cfg.max_epochs=1; lists as key="[a,b]" or key=a,b, nested ones as '
        'key="[(a,b),(c,d)]", without white space',
    )
    parser.add_argument(
        '--launcher',
        choices=LAUNCHERS,
        default='none',
        help='who started the processes of a distributed job; dist_*.sh use pytorch (torchrun) and '
        'slurm_*.sh use slurm (default: none, one process)',
    )
    # torchrun sets LOCAL_RANK; torch.distributed.launch passes the option in either spelling.
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)


def load_config(args: argparse.Namespace) -> Config:
    """Read the config that the command line names and apply the shared options to it.

    Args:
        args: Parsed arguments with ``config`` and the options of :func:`add_common_arguments`.

    Returns:
        The config with ``--cfg-options`` merged, its launcher and its work directory set.

    Raises:
        UserError: If there is no such config.
    """
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    path = find_config(args.config)
    cfg = Config.fromfile(path)
    if args.cfg_options is not None:
        cfg.merge_from_dict(args.cfg_options)
    cfg.launcher = args.launcher
    if args.work_dir is not None:
        cfg.work_dir = args.work_dir
    elif cfg.get('work_dir') is None:
        cfg.work_dir = os.path.join('.', 'work_dirs', path.stem)
    return cfg


def find_config(name: str) -> Path:
    """Locate a config given as a path or as ``package::relative/path.py``.

    Args:
        name: A file, or the name of a config inside an installed package, such as
            ``mmdet::retinanet/retinanet_r50_fpn_1x_coco.py``.

    Returns:
        The path of the file.

    Raises:
        UserError: If the package or the file does not exist; close names are listed.
    """
    if '::' not in name:
        path = Path(name)
    else:
        package, _, relative = name.partition('::')
        path = _configs_of(package) / relative
        if path.suffix == '':
            path = path.with_suffix('.py')
    if not path.is_file():
        raise UserError(f'config {name!r} does not exist{_suggest(path)}')
    return path


def build_runner(cfg: Config, splits: Sequence[str] = ('train', 'val')) -> Runner:
    """Build the runner of a config on whatever device this machine has.

    Without an accelerator a distributed job talks over gloo, and synchronised batch normalisation,
    which exists on accelerators only, becomes the ordinary one; the log says so.

    Args:
        cfg: A whole config, as :func:`load_config` returns it.
        splits: Which of the data loaders are going to be used.

    Returns:
        The runner, ready for ``train()`` or ``test()``.

    Raises:
        UserError: If the config names unknown components or keys, its data is not there or does
            not fit the model, or ``load_from`` is no checkpoint of the model.
    """
    check_config(cfg)
    check_data(cfg, splits)
    notes = adapt_to_cpu(cfg)
    if notes:
        init_gloo(cfg)
    runner = RUNNERS.build(cfg) if 'runner_type' in cfg else Runner.from_cfg(cfg)
    for note in notes:
        runner.logger.info(note)
    if cfg.get('load_from'):
        model = _without_wrappers(runner.model)
        check_checkpoint(
            cfg.load_from,
            model,
            resume=bool(cfg.get('resume')),
            whole_model='test' in splits,
            prunes=any(type(hook).__name__ == 'SeparationPruningHook' for hook in runner.hooks),
        )
    return runner


def _without_wrappers(model: nn.Module) -> nn.Module:
    """Return the model whose weights a checkpoint holds."""
    while is_model_wrapper(model) or isinstance(model, BaseTTAModel):
        model = model.module
    return model


def _configs_of(package: str) -> Path:
    """Return the folder of configs inside an installed package."""
    spec = find_spec(package) if package.isidentifier() else None
    if spec is None or not spec.submodule_search_locations:
        raise UserError(f'package {package!r} is not installed, so it has no configs to name')
    return Path(spec.submodule_search_locations[0]) / '.mim' / 'configs'


def _suggest(path: Path) -> str:
    """Return the part of a message that names the files most like a missing one."""
    names = sorted(other.name for other in path.parent.glob('*.py'))
    close = [name for name in names if name.startswith(path.stem)][:3]
    close = close or difflib.get_close_matches(path.name, names, n=3)
    if close:
        return f'; did you mean {" or ".join(close)} in {path.parent}?'
    if not path.parent.is_dir():
        return f': there is no folder {path.parent}'
    return f' in {path.parent}'
