"""Run a table of the lectures anew and set its numbers beside those printed.

Every row is trained with several seeds. A finished run is kept as a JSON file and not run again, an
interrupted one goes on from its last checkpoint. In the end a summary (JSON), the table (Markdown)
and pictures lie in the folder of the results.
"""

import argparse
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

import mmlayerwise  # noqa: F401  (supplies the operators before a toolbox is imported)
from mmlayerwise.reproduction.reproduce import reproduce
from mmlayerwise.reproduction.settings import DEVICES, LOSSES, PRESETS, Settings, preset_plan
from mmlayerwise.reproduction.tables import TABLES
from mmlayerwise.utils.errors import report_errors

ROWS = ('models', 'datasets', 'methods')
EXAMPLES = """\
tables:
{tables}

examples:
  python tools/dev/reproduce.py first-layer
  python tools/dev/reproduce.py first-layer --models alexnet --datasets fashion_mnist --seeds 10
  python tools/dev/reproduce.py forward-layers --methods backpropagation forward_1 forward_13
  python tools/dev/reproduce.py first-layer --preset full --device cuda --models vgg16
  python tools/dev/reproduce.py first-layer --render-only
"""


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    tables = '\n'.join(f'  {name:16}{table.title}' for name, table in TABLES.items())
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=EXAMPLES.format(tables=tables),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('table', metavar='TABLE', help=', '.join(TABLES))
    parser.add_argument(
        '--preset',
        default='reduced',
        metavar='NAME',
        help=f'{" or ".join(PRESETS)}: the size that the options below change '
        '(default: %(default)s, for a CPU)',
    )
    rows = parser.add_argument_group('rows')
    for name in ROWS:
        rows.add_argument(f'--{name}', nargs='+', metavar='NAME', help=f'only these {name}')
    rows.add_argument('--seeds', type=int, metavar='K', help='seeds of every row: 0 ... K-1')
    size = parser.add_argument_group('size of a run')
    size.add_argument('--subset', type=int, metavar='N', help='first N training samples')
    size.add_argument('--test-subset', type=int, metavar='N', help='first N test samples')
    size.add_argument('--epochs', type=int, metavar='E', help='epochs of backpropagation')
    size.add_argument('--batch-size', type=int, metavar='N', help='samples of a batch')
    size.add_argument('--image-size', type=int, metavar='PIXELS', help='height and width')
    size.add_argument('--text-length', type=int, metavar='N', help='characters of a text')
    size.add_argument('--width', type=float, metavar='FACTOR', help='factor on the channels')
    size.add_argument('--learning-rate', type=float, metavar='RATE', help='of backpropagation')
    size.add_argument(
        '--linear-head',
        action=argparse.BooleanOptionalAction,
        help='one fully connected layer in place of several',
    )
    size.add_argument(
        '--forward-epochs', type=int, metavar='E', help='at most so many for a layer forward'
    )
    size.add_argument(
        '--forward-batch-size', type=int, metavar='N', help='samples of a batch of such a layer'
    )
    size.add_argument('--forward-loss', choices=LOSSES, help="its loss; raw is the lectures'")
    size.add_argument(
        '--forward-samples', type=int, metavar='N', help='to measure the separation of a layer on'
    )
    size.add_argument(
        '--val-interval', type=int, metavar='E', help='epochs from one validation to the next'
    )
    size.add_argument('--device', choices=DEVICES, help='where to train')
    files = parser.add_argument_group('files')
    files.add_argument(
        '--out',
        type=Path,
        metavar='DIR',
        help='folder of the results (default: results/reproduction/TABLE-PRESET)',
    )
    files.add_argument(
        '--work-dir',
        type=Path,
        default=Path('work_dirs/reproduction'),
        metavar='DIR',
        help='folder of logs and checkpoints (default: %(default)s)',
    )
    files.add_argument(
        '--render-only', action='store_true', help='train nothing; write the table of what is there'
    )
    files.add_argument(
        '--docs', type=Path, metavar='FILE', help='also put the table between its marks in FILE'
    )
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Run what is missing, then write the table."""
    args = parse_args(argv)
    with report_errors():
        plan = preset_plan(args.table, args.preset).change(
            {one.name: getattr(args, one.name) for one in fields(Settings)},
            **{name: tuple(getattr(args, name) or ()) or None for name in ROWS},
            num_seeds=args.seeds,
        )
        out = args.out or Path('results', 'reproduction', f'{args.table}-{args.preset}')
        reproduce(plan, out, args.work_dir, train=not args.render_only, docs=args.docs)


if __name__ == '__main__':
    main()
