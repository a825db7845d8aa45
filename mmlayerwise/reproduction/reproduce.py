"""Running a table: what is missing is trained, then everything is written."""

import hashlib
import json
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from mmlayerwise.reproduction.configs import build_config
from mmlayerwise.reproduction.markdown import render
from mmlayerwise.reproduction.pictures import draw_all
from mmlayerwise.reproduction.runs import Run, execute, load_run, runs_of, save_run
from mmlayerwise.reproduction.settings import Plan, Settings
from mmlayerwise.reproduction.summary import load_runs, summarise, to_json
from mmlayerwise.reproduction.tables import find_table
from mmlayerwise.utils.errors import UserError
from mmlayerwise.utils.files import write_atomically
from mmlayerwise.utils.markdown import insert_between_marks

SUMMARY, TABLE = 'summary.json', 'README.md'


def reproduce(
    plan: Plan, out: Path, work_dir: Path, train: bool = True, docs: Path | None = None
) -> None:
    """Train the runs of a plan that have no result yet and write the table of all there are.

    Args:
        plan: What to run.
        out: Folder of the results.
        work_dir: Folder of logs and checkpoints.
        train: Whether to train what is missing.
        docs: A Markdown file to put the table into as well.

    Raises:
        UserError: If there are results of other settings, data is missing, or nothing was run yet.
    """
    folder = out / 'runs'
    todo = [run for run in runs_of(plan) if not _is_done(run, folder, plan.settings)]
    if train and todo:
        train_runs(plan, todo, folder, work_dir)
    write_results(plan, out, docs)


def write_results(plan: Plan, out: Path, docs: Path | None = None) -> None:
    """Write the summary, the table and the pictures of all results there are.

    Args:
        plan: What the results belong to.
        out: Folder of the results.
        docs: A Markdown file to put the table into as well, between marks named as the folder.

    Raises:
        UserError: If there are no results, or those of other settings.
    """
    runs = load_runs(out / 'runs', plan.settings)
    summary = summarise(plan.table, runs)
    pictures = draw_all(summary, runs, out)
    table = render(summary)
    title = find_table(plan.table).title
    shown = ''.join(f'\n![{path.stem.replace("_", " ")}](./{path.name})\n' for path in pictures)
    for path, text in (
        (out / SUMMARY, to_json(summary)),
        (out / TABLE, f'# {title}\n\n{table}{shown}'),
    ):
        with write_atomically(path) as temporary:
            temporary.write_text(text, encoding='utf-8')
    if docs is not None:
        insert_between_marks(docs, out.name, table)
    print(f'{table}\nsummary:   {out / SUMMARY}\ntable:     {out / TABLE}')
    for path in pictures:
        print(f'picture:   {path}')


def train_runs(plan: Plan, todo: list[Run], folder: Path, work_dir: Path) -> None:
    """Train runs one after the other.

    Args:
        plan: What they belong to.
        todo: The runs.
        folder: Where their results go.
        work_dir: Folder of logs and checkpoints.
    """
    use_device(plan.settings.device)
    for run in {(run.model, run.dataset, run.method): run for run in todo}.values():
        # What is wrong shows before the first hour of training.
        build_config(run.model, run.dataset, run.method, run.seed, plan.settings)
    columns = (
        TextColumn('{task.description}'),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    settings = json.dumps(plan.settings.to_dict(), sort_keys=True)
    key = hashlib.sha256(settings.encode()).hexdigest()[:8]
    with Progress(*columns, console=Console(stderr=True)) as progress:
        whole = progress.add_task(f'{plan.table}, runs', total=len(todo))
        for run in todo:
            part = progress.add_task(run.name, total=100)
            result = execute(
                run,
                plan.settings,
                work_dir / f'{plan.table}-{key}' / run.name,
                lambda share, part=part: progress.update(part, completed=int(100 * share)),
            )
            save_run(result, folder / f'{run.name}.json')
            progress.remove_task(part)
            progress.advance(whole)
            seconds = result['seconds']['wall']
            print(f'{run.name}: accuracy {result["accuracy"]:.2f} %, {seconds:.0f} s', flush=True)


def use_device(device: str) -> None:
    """Let mmengine choose a device.

    Args:
        device: ``'cpu'`` or ``'cuda'``.

    Raises:
        UserError: If there is no such device, or CUDA was in use before.
    """
    if device == 'cuda' and not torch.cuda.is_available():
        raise UserError('--device cuda: torch finds no CUDA device here; choose --device cpu')
    if device == 'cpu' and torch.cuda.is_available():
        raise UserError(
            '--device cpu on a machine with a GPU: mmengine trains on the GPU if it sees one. Hide '
            'it by CUDA_VISIBLE_DEVICES= before the command, or choose --device cuda'
        )


def _is_done(run: Run, folder: Path, settings: Settings) -> bool:
    path = folder / f'{run.name}.json'
    return path.exists() and bool(load_run(path, settings))
