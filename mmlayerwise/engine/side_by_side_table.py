"""The table of a comparison, from its results."""

import json
from pathlib import Path
from typing import Any

from mmlayerwise.engine.side_by_side import Comparison


def read_results(comparison: Comparison, folder: Path) -> list[dict[str, Any]]:
    """Read what was measured, in the comparison's order.

    Args:
        comparison: The comparison.
        folder: Of the JSON files, one a system.

    Returns:
        The results of the systems that have one.
    """
    paths = [folder / f'{Path(system.config).stem}.json' for system in comparison.systems]
    return [json.loads(path.read_text()) for path in paths if path.exists()]


def table_of(comparison: Comparison, results: list[dict[str, Any]]) -> str:
    """Write a Markdown table.

    Args:
        comparison: The comparison.
        results: As :func:`read_results` gives them.

    Returns:
        A line a system: the metrics, images a second, size and cost of the trained form and of the
        full one, then the systems' notes; without results, a line that says so.
    """
    if not results:
        return 'Nothing has been run yet.\n'
    columns = [
        *comparison.metrics,
        'images/s',
        'trained: input',
        'parameters',
        'multiply-adds',
        'full size: input',
        'parameters',
        'multiply-adds',
    ]
    lines = [
        f'| system | {" | ".join(columns)} |',
        f'|---|{"---:|" * len(columns)}',
        *[f'| {" | ".join(_cells(comparison, result))} |' for result in results],
    ]
    notes = {system.name: system.note for system in comparison.systems if system.note}
    shown = [result['system'] for result in results if result['system'] in notes]
    if shown:
        lines += ['', *[f'- {name}: {notes[name]}' for name in shown]]
    return '\n'.join(lines) + '\n'


def _cells(comparison: Comparison, result: dict[str, Any]) -> list[str]:
    name = Path(result['config']).stem
    folder = '../' * (len(Path(comparison.document).parts) - 1)
    return [
        f'[{result["system"]}]({folder}{result["config"]})'
        if '::' not in result['config']
        else f'{result["system"]} ({name})',
        *[f'{result["metrics"][column]:.{comparison.decimals}f}' for column in comparison.metrics],
        f'{result["frames_per_second"]:.1f}',
        *_size(result['trained']),
        *_size(result['full_size']),
    ]


def _size(part: dict[str, Any]) -> list[str]:
    return [
        'x'.join(map(str, part['input'])),
        f'{part["parameters"] / 1e6:.2f} M',
        f'{part["multiply_adds"] / 1e9:.2f} G',
    ]
