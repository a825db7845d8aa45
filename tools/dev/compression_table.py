"""Write the table in configs/compression/README.md from the results in results/compression.

Examples:
  python tools/dev/compression_table.py            # write the table
  python tools/dev/compression_table.py --check    # exit with status 1 if the table is stale
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmlayerwise.utils.errors import UserError, report_errors
from mmlayerwise.utils.markdown import insert_between_marks, split_at_marks

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / 'results' / 'compression'
DOCUMENT = ROOT / 'configs' / 'compression' / 'README.md'
MARK = 'results'
TITLES = {
    'original': 'original',
    'si': '**separation index**',
    'magnitude': 'magnitude, same cut and widths',
    'random': 'random, same cut and widths',
    'magnitude_uniform': 'magnitude, same share everywhere',
    'random_uniform': 'random, same share everywhere',
}
METRICS = {'accuracy/top1': 'top-1', 'mIoU': 'mIoU'}


def table(folder: Path = RESULTS) -> str:
    """What stands between the marks.

    Args:
        folder: Holds one JSON for each run, written by ``tools/dev/compression_evidence.py``.

    Returns:
        Markdown that ends with a line break.
    """
    runs = [json.loads(path.read_text(encoding='utf-8')) for path in sorted(folder.glob('*.json'))]
    if not runs:
        return 'Nothing has been run yet.\n'
    return '\n'.join(_run(run) for run in runs)


def _run(run: dict[str, Any]) -> str:
    results, name = run['results'], Path(run['config']).stem
    metric = next(one for one in METRICS if one in results['original']['test'])
    lines = [
        f'### [{name}](./{name}.py)',
        '',
        f'{_cut(run)} `{run["environment"]["command"]}`',
        '',
        f'| channels chosen by | parameters | FLOPs | {METRICS[metric]}, % | '
        f'after {run["settings"]["retrain"]:.0%} of the training again |',
        '|---|---:|---:|---:|---:|',
    ]
    whole = results['original']['cost']
    for key, title in TITLES.items():
        if key not in results:
            continue
        cost = results[key]['cost']
        cells = [
            title,
            f'{cost["parameters"]:,} ({cost["parameters"] / whole["parameters"]:.1%})',
            f'{cost["flops"] / 1e6:.2f} M ({cost["flops"] / whole["flops"]:.1%})',
            f'{results[key]["test"][metric]:.1f}',
            f'{results[key]["test_after_retraining"][metric]:.1f}'
            if 'test_after_retraining' in results[key]
            else '',
        ]
        lines.append(f'| {" | ".join(cells)} |')
    return '\n'.join(lines) + '\n'


def _cut(run: dict[str, Any]) -> str:
    """Where the separation index ended the network, and how many layers it thinned."""
    plan, blocks = run['plan'], run['index']['original']
    names = [block['block'] for block in blocks]
    kept = f'{names.index(plan["cut"]) + 1} of {len(names)} blocks' if plan['cut'] else 'all blocks'
    count = len(plan['channels'])
    return f'Kept: {kept}; thinned: {count} layer{"s" * (count != 1)}.'


def main(argv: Sequence[str] | None = None) -> None:
    """Write or check the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--check', action='store_true', help='write nothing; fail if it is stale')
    args = parser.parse_args(argv)
    with report_errors():
        if not args.check:
            insert_between_marks(DOCUMENT, MARK, table())
        elif split_at_marks(DOCUMENT.read_text(encoding='utf-8'), MARK, DOCUMENT)[1] != table():
            raise UserError(f'{DOCUMENT.name} is stale: run tools/dev/compression_table.py')


if __name__ == '__main__':
    main()
