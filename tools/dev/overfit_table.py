"""Write the table of what tools/dev/overfit.py proved into a document.

The table stands between the lines `<!-- overfit: begin -->` and `<!-- overfit: end -->`.

Examples:
  python tools/dev/overfit_table.py mIoU docs/segmentors.md
  python tools/dev/overfit_table.py mIoU docs/segmentors.md --check    # status 1 if it is stale
"""

import argparse
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmlayerwise.utils.errors import UserError, report_errors
from mmlayerwise.utils.markdown import insert_between_marks, split_at_marks

HEADER = (
    '| config | learns | input | parameters | steps | reached |\n|---|---|---:|---:|---:|---:|\n'
)


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('metric', help='results by this metric: mIoU or coco/bbox_mAP_50')
    parser.add_argument('document', type=Path, help='Markdown file with the two lines')
    parser.add_argument(
        '--results',
        type=Path,
        default=Path('results/overfit'),
        metavar='DIR',
        help='folder of the results (default: %(default)s)',
    )
    parser.add_argument('--check', action='store_true', help='fail if the table is stale')
    return parser.parse_args(argv)


def table_of(metric: str, results: Path, document: Path) -> str:
    """Write a Markdown table, a line a result.

    Args:
        metric: Results that were judged by another one are left out.
        results: Folder of the JSON files and pictures.
        document: Where the table will stand, for its links.

    Returns:
        The table.

    Raises:
        UserError: If there is no result.
    """
    lines = []
    for path in sorted(results.glob('*.json')):
        result = json.loads(path.read_text())
        if result['metric'] == metric:
            links = (
                os.path.relpath(one, document.parent)
                for one in (result['config'], path.with_suffix('.png'))
            )
            lines.append(f'| {" | ".join(_cells(result, *links))} |\n')
    if not lines:
        raise UserError(f'{results} has no result by {metric}; run tools/dev/overfit.py')
    return HEADER + ''.join(lines)


def _cells(result: dict[str, Any], config: str, picture: str) -> list[str]:
    settings = result['settings']
    crop = settings.get('crop')
    what = f'{settings["num_images"]} ' + (f'windows of {crop[2]}x{crop[3]}' if crop else 'images')
    width, height = settings['image_size']
    final = result['final']
    reached = f'[{final["value"]:#.3g}]({picture})'
    return [
        f'[{Path(config).stem}]({config})',
        what,
        f'{width}x{height}',
        f'{result["num_parameters"] / 1e6:.2f} M',
        str(final['step']),
        reached if result['reached'] else f'{reached} (not {result["target"]:g})',
    ]


def main(argv: Sequence[str] | None = None) -> None:
    """Write or check the table."""
    args = parse_args(argv)
    with report_errors():
        table = table_of(args.metric, args.results, args.document)
        if not args.check:
            insert_between_marks(args.document, 'overfit', table)
            print(f'table:  {args.document}')
            return
        content = args.document.read_text(encoding='utf-8')
        if split_at_marks(content, 'overfit', args.document)[1] != table:
            raise UserError(
                f'{args.document} is stale: run '
                f'"python tools/dev/overfit_table.py {args.metric} {args.document}"'
            )


if __name__ == '__main__':
    main()
