"""From the results of the runs to the rows of a table."""

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from mmlayerwise.reproduction.methods import BACKPROPAGATION
from mmlayerwise.reproduction.runs import load_run
from mmlayerwise.reproduction.settings import Settings
from mmlayerwise.reproduction.statistics import describe, paired_difference
from mmlayerwise.reproduction.tables import Cell, Table, find_table
from mmlayerwise.utils.errors import UserError

FORMAT = 'mmlayerwise.reproduction.summary'
VERSION = 1


def load_runs(folder: Path, settings: Settings) -> list[dict[str, Any]]:
    """Read all results of a table.

    Args:
        folder: Where they are.
        settings: What they have to have been run with.

    Returns:
        Their contents, by name of the file.

    Raises:
        UserError: If there is none, or one was run with other settings.
    """
    found = [load_run(path, settings) for path in sorted(folder.glob('*.json'))]
    if not found:
        raise UserError(f'there is no result in {folder} yet; run without --render-only')
    return found


def summarise(name: str, runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Put the rows of a table together.

    Args:
        name: Name of the table.
        runs: Results, all of the same settings.

    Returns:
        The content of the summary: rows in the order of the lectures' table, with the mean and the
        standard deviation over seeds, the paired difference to backpropagation (of the seeds that
        both have) and the lectures' numbers.
    """
    table = find_table(name)
    cells: dict[Cell, dict[int, dict]] = defaultdict(dict)
    for run in runs:
        cells[run['model'], run['dataset'], run['method']][run['seed']] = run
    order = [
        (model, dataset, method)
        for model in table.models
        for dataset in table.datasets
        for method in table.methods
    ]
    rows = [_row(table, cell, cells) for cell in order if cell in cells]
    return {
        'format': FORMAT,
        'version': VERSION,
        'table': name,
        'metric': table.metric,
        'settings': runs[0]['settings'],
        'clock': clock(runs[0]['settings']),
        'environment': _environment(runs),
        'rows': rows,
    }


def clock(settings: dict[str, Any]) -> str:
    """Which time is compared.

    That of the processor on a CPU, which other programs of the machine don't lengthen; the clock on
    the wall on a GPU.

    Args:
        settings: Of the runs.

    Returns:
        Key of the runs' ``seconds``.
    """
    return 'wall' if settings['device'] == 'cuda' else 'processor'


def value_of(run: dict[str, Any], metric: str) -> float:
    """The number of a run.

    Args:
        run: Its result.
        metric: ``'accuracy'`` or ``'error rate'``.

    Returns:
        Percent.
    """
    return run['accuracy'] if metric == 'accuracy' else 100 - run['accuracy']


def _row(table: Table, cell: Cell, cells: dict[Cell, dict[int, dict]]) -> dict[str, Any]:
    model, dataset, method = cell
    base = (model, dataset, BACKPROPAGATION)
    own, other = cells[cell], cells.get(base, {})
    common = sorted(set(own) & set(other)) if method != BACKPROPAGATION else []

    def values(runs: dict[int, dict], seeds: Iterable[int]) -> list[float]:
        return [value_of(runs[seed], table.metric) for seed in seeds]

    def seconds(runs: dict[int, dict], seeds: Iterable[int]) -> list[float]:
        return [runs[seed]['seconds'][clock(runs[seed]['settings'])] for seed in seeds]

    seeds = sorted(own)
    return {
        'model': model,
        'dataset': dataset,
        'method': method,
        'seeds': seeds,
        'values': values(own, seeds),
        **describe(values(own, seeds)).to_dict(),
        'difference': paired_difference(values(own, common), values(other, common)).to_dict()
        if common
        else None,
        'seconds': describe(seconds(own, seeds)).to_dict(),
        'time_ratio': sum(seconds(own, common)) / sum(seconds(other, common)) if common else None,
        'parameters': own[seeds[0]]['parameters'],
        'printed': table.printed.get(cell),
        'printed_difference': _minus(table.printed.get(cell), table.printed.get(base))
        if method != BACKPROPAGATION
        else None,
        'printed_minutes': table.minutes.get(cell),
        'printed_time_ratio': _over(table.minutes.get(cell), table.minutes.get(base))
        if method != BACKPROPAGATION
        else None,
    }


def _minus(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else round(one - other, 2)


def _over(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one / other


def _environment(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What all runs have in common, and the commands that made them."""
    first = runs[0]['environment']
    same = {
        key: value
        for key, value in first.items()
        if all(run['environment'].get(key) == value for run in runs)
    }
    commands = sorted({run['environment']['command'] for run in runs})
    return {**same, 'command': commands[0] if len(commands) == 1 else commands}


def to_json(summary: dict[str, Any]) -> str:
    """The text of the summary's file."""
    return json.dumps(summary, indent=1, allow_nan=False) + '\n'
