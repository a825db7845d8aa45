"""A summary as Markdown."""

from collections.abc import Callable
from typing import Any

from mmlayerwise.reproduction.tables import (
    DATASET_TITLES,
    MODEL_TITLES,
    find_table,
    method_title,
)

NOTHING = '-'


def render(summary: dict[str, Any]) -> str:
    """Write the table with what it was run with and notes on the lectures' numbers.

    Args:
        summary: From :func:`~mmlayerwise.reproduction.summary.summarise`.

    Returns:
        Markdown that ends with a line break.
    """
    table = find_table(summary['table'])
    columns = _columns(summary)
    lines = [
        _line([title for title, _ in columns]),
        '|---|---|---|' + '---:|' * (len(columns) - 3),
        *(_line([cell(row) for _, cell in columns]) for row in summary['rows']),
    ]
    notes = [f'- Lectures: {note}' for note in table.notes]
    return '\n'.join([*lines, '', _how(summary), *([''] if notes else []), *notes]) + '\n'


def _columns(summary: dict[str, Any]) -> list[tuple[str, Callable[[dict[str, Any]], str]]]:
    metric = summary['metric']
    columns = [
        ('network', lambda row: MODEL_TITLES[row['model']]),
        ('data', lambda row: DATASET_TITLES[row['dataset']]),
        ('method', lambda row: method_title(row['method'])),
        ('seeds', lambda row: str(row['count'])),
        (f'{metric}, %', _mean),
        ('difference to backpropagation (95 % interval)', _difference),
        ('training time, s', lambda row: _number(row['seconds']['mean'], '.0f')),
        ('time / backpropagation', lambda row: _number(row['time_ratio'], '.2f')),
        (f'lectures: {metric}, %', lambda row: _number(row['printed'], '.2f')),
        ('lectures: difference', lambda row: _number(row['printed_difference'], '+.2f')),
    ]
    if any(row['printed_minutes'] for row in summary['rows']):
        columns += [
            ('lectures: time, min:s', lambda row: _minutes(row['printed_minutes'])),
            (
                'lectures: time / backpropagation',
                lambda row: _number(row['printed_time_ratio'], '.2f'),
            ),
        ]
    return columns


def _how(summary: dict[str, Any]) -> str:
    settings, environment = summary['settings'], summary['environment']
    metric = summary['metric']
    count = settings['subset']
    parts = [
        f'{count:,} training samples' if count else 'all training samples',
        f'{settings["test_subset"]:,} test samples' if settings['test_subset'] else 'all test data',
        f'{_epochs(settings["epochs"])} of backpropagation',
    ]
    for key, text in (
        ('batch_size', 'batches of {}'),
        ('image_size', 'images of {0}x{0}'),
        ('text_length', '{} characters'),
        ('learning_rate', 'learning rate {}'),
    ):
        if settings[key]:
            parts.append(text.format(settings[key]))
    if settings['width'] != 1:
        parts.append(f'{settings["width"]:g} of the channels')
    if settings['linear_head']:
        parts.append('one fully connected layer')
    if any(row['method'].startswith(('forward', 'layer_wise')) for row in summary['rows']):
        epochs = _epochs(settings['forward_epochs'])
        parts.append(
            f'at most {epochs} for a layer that learns forward, in batches of '
            f'{settings["forward_batch_size"]} with the {settings["forward_loss"]} loss'
        )
    time = (
        'Time is that of the processor for training, validation apart.'
        if summary['clock'] == 'processor'
        else 'Time is that of training, validation apart.'
    )
    where = environment.get('gpu') or environment.get('processor') or 'several machines'
    commands = environment['command']
    commands = [commands] if isinstance(commands, str) else commands
    made_by = ', '.join(f'`{one}`' for one in commands)
    return (
        f'{", ".join(parts)}. {metric.capitalize()} after the last epoch, mean ± standard '
        "deviation over seeds; the difference is paired by seed, its interval Student's t, not "
        f'corrected for the number of rows. {time} {where}; {made_by}.'
    )


def _epochs(number: int) -> str:
    return f'{number} epoch{"s" * (number != 1)}'


def _line(cells: list[str]) -> str:
    return f'| {" | ".join(cells)} |'


def _number(value: float | None, form: str) -> str:
    return NOTHING if value is None else format(value, form)


def _mean(row: dict[str, Any]) -> str:
    spread = '' if row['deviation'] is None else f' ± {row["deviation"]:.2f}'
    return f'{row["mean"]:.2f}{spread}'


def _difference(row: dict[str, Any]) -> str:
    found = row['difference']
    if found is None:
        return NOTHING
    if found['low'] is None:
        return f'{found["mean"]:+.2f}'
    return f'{found["mean"]:+.2f} ({found["low"]:+.2f} to {found["high"]:+.2f})'


def _minutes(value: float | None) -> str:
    if value is None:
        return NOTHING
    minutes, seconds = divmod(round(value * 60), 60)
    return f'{minutes}:{seconds:02d}'
