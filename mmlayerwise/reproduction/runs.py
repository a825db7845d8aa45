"""Running one cell of a table with one seed, and its result file."""

import io
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import rich
from mmengine.config import Config
from mmengine.runner import find_latest_checkpoint

from mmlayerwise.engine.launch import build_runner
from mmlayerwise.reproduction.configs import build_config
from mmlayerwise.reproduction.recorder import RunRecorder
from mmlayerwise.reproduction.settings import Plan, Settings
from mmlayerwise.utils.environment import describe_environment
from mmlayerwise.utils.errors import UserError
from mmlayerwise.utils.files import write_atomically

FORMAT = 'mmlayerwise.reproduction.run'
VERSION = 1
_NUMBERS = count()


@dataclass(frozen=True)
class Run:
    """One training.

    Attributes:
        model: Key of the network.
        dataset: Key of the data set.
        method: Key of the method.
        seed: Of everything random.
    """

    model: str
    dataset: str
    method: str
    seed: int

    @property
    def name(self) -> str:
        """Name of its files."""
        return f'{self.model}-{self.dataset}-{self.method}-seed{self.seed}'


def runs_of(plan: Plan) -> list[Run]:
    """List the runs of a plan.

    All rows of a seed come before the next seed, and all methods of a row follow each other, so
    that an interrupted table has whole pairs, and early all of its rows.

    Args:
        plan: What to run.

    Returns:
        The runs in their order.
    """
    return [
        Run(model, dataset, method, seed)
        for seed in range(plan.num_seeds)
        for model in plan.models
        for dataset in plan.datasets
        for method in plan.methods
    ]


def load_run(path: Path, settings: Settings | None = None) -> dict[str, Any]:
    """Read the result of a run.

    Args:
        path: Its file.
        settings: What it has to have been run with.

    Returns:
        The content.

    Raises:
        UserError: If it is no such file, or was run with other settings.
    """
    try:
        result = json.loads(path.read_text(encoding='utf-8'))
        if result['format'] != FORMAT or result['version'] != VERSION:
            raise KeyError('format')
        # What was added later had its default.
        found = result['settings'] = {**Settings().to_dict(), **result['settings']}
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f'{path} is no result of a run ({type(error).__name__}: {error}); remove it or choose '
            'another --out'
        ) from error
    wanted = found if settings is None else settings.to_dict()
    different = [key for key in {**wanted, **found} if wanted.get(key) != found.get(key)]
    if different:
        changes = ', '.join(f'{key} {found.get(key)}, now {wanted.get(key)}' for key in different)
        raise UserError(
            f'{path} was run with other settings ({changes}). Numbers of both cannot stand in one '
            'table: choose another --out, or remove the folder'
        )
    return result


def execute(
    run: Run,
    settings: Settings,
    work_dir: Path,
    report: Callable[[float], None] | None = None,
) -> dict[str, Any]:
    """Train and collect the result.

    An interrupted run goes on from its last checkpoint. Its checkpoints are removed in the end; its
    log stays.

    Args:
        run: What to train.
        settings: Size of the run.
        work_dir: Folder of this run.
        report: Called with the share that is done.

    Returns:
        The content of the result file.
    """
    cfg = build_config(run.model, run.dataset, run.method, run.seed, settings)
    cfg.work_dir, cfg.launcher = str(work_dir), 'none'
    # By these names mmengine would give a second run the log and the scalars of the first.
    cfg.experiment_name = cfg.visualizer.name = f'{run.name}-{next(_NUMBERS)}'
    checkpoint = find_latest_checkpoint(work_dir) if work_dir.is_dir() else None
    cfg.resume, cfg.load_from = checkpoint is not None, checkpoint
    recorder = RunRecorder(report)
    with _quiet():
        runner = build_runner(cfg)
        runner.register_hook(recorder)
        runner.train()
        if not recorder.epochs or recorder.epochs[-1]['epoch'] < runner.max_epochs:
            # It was interrupted between the last checkpoint and the last validation.
            runner.val_loop.run()
    result = _result(run, settings, cfg, recorder, runner)
    for file in (*work_dir.glob('*.pth'), work_dir / 'last_checkpoint'):
        file.unlink(missing_ok=True)
    return result


def _result(
    run: Run, settings: Settings, cfg: Config, recorder: RunRecorder, runner: Any
) -> dict[str, Any]:
    epochs = recorder.epochs
    parameters = sum(one.numel() for one in runner.model.parameters())
    records = {name: Path(runner.work_dir, f'{name}.json') for name in ('qls', 'layerwise')}
    return {
        'format': FORMAT,
        'version': VERSION,
        'model': run.model,
        'dataset': run.dataset,
        'method': run.method,
        'seed': run.seed,
        'settings': settings.to_dict(),
        'accuracy': epochs[-1]['metrics']['accuracy/top1'],
        'seconds': recorder.seconds,
        'parameters': parameters,
        'batch_size': cfg.train_dataloader.batch_size,
        'optimizer': cfg.optim_wrapper.optimizer.to_dict(),
        'epochs': epochs,
        **{
            name: json.loads(path.read_text()) if path.is_file() else None
            for name, path in records.items()
        },
        'environment': describe_environment(),
    }


def save_run(result: dict[str, Any], path: Path) -> None:
    """Write the result of a run, whole or not at all.

    Args:
        result: What :func:`execute` returned.
        path: The file.
    """
    text = json.dumps(_rounded(result), indent=1, allow_nan=False)
    with write_atomically(path) as temporary:
        temporary.write_text(text + '\n', encoding='utf-8')


def _rounded(value: Any) -> Any:
    """Numbers with six significant digits, which is more than any of them means."""
    if isinstance(value, dict):
        return {key: _rounded(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(one) for one in value]
    return float(f'{value:.6g}') if isinstance(value, float) else value


@contextmanager
def _quiet() -> Iterator[None]:
    """Leave the console to the progress of the table; the log of the run gets everything."""
    console = rich.get_console()
    before, console.quiet = console.quiet, True
    try:
        with redirect_stdout(io.StringIO()):
            yield
    finally:
        console.quiet = before
