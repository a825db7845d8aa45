"""Train several systems with the same short budget on the same data and write them into a table.

A comparison is a YAML file, such as tools/dev/side_by_side/one_stage_detectors.yml: the data, the
budget, and the systems with what makes each small enough for a CPU (its keys are those of
Comparison and ComparedSystem in mmlayerwise/engine/side_by_side.py). Every system gets one JSON;
the table stands between two comments in the comparison's document. A system with a JSON is not
trained again, so that an interrupted comparison goes on.

Examples:
  python tools/dev/side_by_side.py tools/dev/side_by_side/one_stage_detectors.yml
  python tools/dev/side_by_side.py COMPARISON --only YOLOv2 YOLOv4 --again
  python tools/dev/side_by_side.py COMPARISON --table     # only write the table from the JSONs
  python tools/dev/side_by_side.py COMPARISON --check     # exit with status 1 if it is stale
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

import mmlayerwise  # noqa: F401  (supplies the operators before a toolbox is imported)
from mmlayerwise.engine.side_by_side import Comparison, run_system
from mmlayerwise.engine.side_by_side_table import read_results, table_of
from mmlayerwise.utils.errors import UserError, report_errors
from mmlayerwise.utils.files import write_atomically
from mmlayerwise.utils.markdown import insert_between_marks, split_at_marks


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('comparison', help='the YAML file')
    parser.add_argument('--only', nargs='+', metavar='NAME', help='only these systems')
    parser.add_argument(
        '--again', action='store_true', help='train also systems that have a result'
    )
    parser.add_argument(
        '--out',
        default='results/side_by_side',
        metavar='DIR',
        help='folder for the results (default: %(default)s)',
    )
    parser.add_argument(
        '--work-dir',
        default='work_dirs/side_by_side',
        metavar='DIR',
        help='folder for logs (default: %(default)s)',
    )
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument('--table', action='store_true', help='train nothing, write the table')
    mode.add_argument('--check', action='store_true', help='fail if the table is stale')
    return parser.parse_args(argv)


def train(args: argparse.Namespace, comparison: Comparison) -> None:
    """Run the chosen systems that have no result yet."""
    chosen = comparison.choose(args.only)
    for number, system in enumerate(chosen, 1):
        target = Path(args.out, comparison.name, f'{Path(system.config).stem}.json')
        if target.exists() and not args.again:
            print(f'{system.name}: {target} is there, not trained again (--again would)')
            continue
        print(f'{system.name} ({number} of {len(chosen)})')
        work_dir = str(Path(args.work_dir, comparison.name, Path(system.config).stem))
        result = run_system(comparison, system, work_dir)
        with write_atomically(target) as temporary:
            temporary.write_text(json.dumps(result, indent=1) + '\n')
        print(f'{system.name}: {result["metrics"]}\nresult:  {target}')


def main(argv: Sequence[str] | None = None) -> None:
    """Train, and write or check the table."""
    args = parse_args(argv)
    with report_errors():
        comparison = Comparison.load(args.comparison)
        if not args.table and not args.check:
            train(args, comparison)
        results = read_results(comparison, Path(args.out, comparison.name))
        table = table_of(comparison, results)
        document = Path(comparison.document)
        if args.check:
            text = document.read_text(encoding='utf-8')
            if split_at_marks(text, comparison.name, document)[1] != table:
                raise UserError(
                    f'{document} is stale: run "python tools/dev/side_by_side.py {args.comparison} '
                    '--table"'
                )
        else:
            insert_between_marks(document, comparison.name, table)
            Console().print(table, highlight=False, markup=False, soft_wrap=True)
            print(f'table:  {document}')


if __name__ == '__main__':
    main()
