"""Compress a trained model by the separation index: a smaller config and its weights.

The layers behind the last one that adds to the index go, then feature maps, as many as the index
allows or a budget asks. Decisions are made on training images; test data only judge the result.
The folder holds config.py, which inherits yours, weights.pth, plan.json and report.html:

  python tools/test.py DIR/config.py DIR/weights.pth     gives the numbers that are printed here
  python tools/train.py DIR/config.py                    trains the small model further
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import mmlayerwise  # noqa: F401  (supplies the operators before a toolbox is imported)
from mmlayerwise.compression.criteria import CRITERIA
from mmlayerwise.compression.head_search import HeadSearch
from mmlayerwise.compression.reading import Progress as ProgressFunction
from mmlayerwise.compression.settings import BUDGETS, PlannerSettings
from mmlayerwise.engine.analysis import sampler_options
from mmlayerwise.engine.compression import CompressionOptions, compress
from mmlayerwise.engine.launch import add_common_arguments, load_config
from mmlayerwise.separation.significance import SignificanceTest
from mmlayerwise.utils.errors import UserError, report_errors

# What a shell reports of a program that was stopped by Ctrl-C.
INTERRUPTED = 130

EXAMPLES = """\
examples:
  python tools/compress.py CONFIG CHECKPOINT --out compressed
  python tools/compress.py CONFIG CHECKPOINT --out half --budget 0.5
  python tools/compress.py CONFIG CHECKPOINT --out small --budget 0.3 --budget-of parameters
  python tools/compress.py CONFIG CHECKPOINT --out compared --budget 0.5 --criterion magnitude
  python tools/compress.py DIR/config.py DIR/weights.pth --out twice      compress again
"""


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        'config', help='a config file, or one of an installed package as mmdet::folder/name.py'
    )
    parser.add_argument('checkpoint', help='the trained weights, a file')
    parser.add_argument(
        '--out',
        type=Path,
        required=True,
        metavar='DIR',
        help='folder for the results; it appears when all is done, or not at all',
    )
    parser.add_argument(
        '--overwrite', action='store_true', help='replace an earlier compression in DIR'
    )
    planning = parser.add_argument_group('what goes')
    planning.add_argument(
        '--budget',
        type=float,
        metavar='SHARE',
        help='share of the cost that may stay, such as 0.5; planning ends when it is met. Without '
        'it goes all that costs no index',
    )
    planning.add_argument(
        '--budget-of',
        choices=BUDGETS,
        default='flops',
        help='the cost that the budget is of (default: %(default)s)',
    )
    planning.add_argument(
        '--criterion',
        choices=CRITERIA,
        default='si',
        help='what channels are chosen by; magnitude and random are for comparison, cut no layers '
        'and need a budget (default: %(default)s)',
    )
    planning.add_argument(
        '--cut',
        default='auto',
        metavar='auto|index|none|BLOCK',
        help='where the network ends: auto cuts classifiers and segmentors where the index rises '
        'no more, index detectors too, none cuts nothing, or the name of a block',
    )
    planning.add_argument(
        '--least-gain',
        type=float,
        default=0.005,
        metavar='X',
        help='a block counts as better if its index is higher by more than this ... '
        '(default: %(default)s)',
    )
    planning.add_argument(
        '--z',
        type=float,
        default=1.64,
        metavar='Z',
        help='... and by more than Z standard errors of the paired difference (default: '
        '%(default)s)',
    )
    planning.add_argument(
        '--map-tolerance',
        type=float,
        default=0.005,
        metavar='X',
        help='the maps of the last layer are the fewest within this of the best index (default: '
        '%(default)s)',
    )
    planning.add_argument(
        '--shortlist',
        type=int,
        metavar='N',
        help='candidates of each step of the search for them (default: all up to 256 maps, above '
        'that the best 64)',
    )
    planning.add_argument(
        '--max-drop',
        type=float,
        default=0.01,
        metavar='X',
        help='how far the index may fall while earlier layers are thinned (default: %(default)s)',
    )
    planning.add_argument(
        '--drop-limit',
        type=float,
        default=0.05,
        metavar='X',
        help='how far it may fall to meet a budget (default: %(default)s)',
    )
    data = parser.add_argument_group('on what data')
    data.add_argument(
        '--samples',
        nargs='+',
        default=['auto'],
        metavar=('TYPE', 'KEY=VALUE'),
        help='what is compared: ImageSamples, PixelSamples or BoxSamples with arguments, or auto '
        'to follow the annotations (default: auto)',
    )
    data.add_argument(
        '--max-samples',
        type=int,
        default=2000,
        metavar='N',
        help='decide on at most N samples, balanced over the classes (default: %(default)s)',
    )
    data.add_argument(
        '--head-samples',
        type=int,
        default=10000,
        metavar='N',
        help='learn a new fully connected part from at most N images (default: %(default)s)',
    )
    data.add_argument(
        '--head-epochs',
        type=int,
        default=20,
        metavar='N',
        help='in N passes over them (default: %(default)s)',
    )
    data.add_argument(
        '--batch-size', type=int, metavar='N', help='images a forward pass (default: as val)'
    )
    data.add_argument('--seed', type=int, default=0, help='of what is random (default: 0)')
    data.add_argument(
        '--no-test', action='store_true', help='do not test the models before and after'
    )
    add_common_arguments(parser)
    return parser.parse_args(argv)


@contextmanager
def progress_bars() -> Iterator[ProgressFunction]:
    """Show one bar for each kind of work."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn('{task.description}'),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns) as bars:
        tasks: dict[str, int] = {}

        def show(text: str, done: int, total: int) -> None:
            kind = text.partition(' (')[0]
            if kind not in tasks:
                tasks[kind] = bars.add_task(text, total=total)
            bars.update(tasks[kind], description=text, completed=done, total=total)

        yield show


def main(argv: Sequence[str] | None = None) -> None:
    """Plan, carry out, test, write."""
    args = parse_args(argv)
    with report_errors():
        if args.launcher != 'none':
            raise UserError(
                '--launcher: a compression runs in one process; SeparationPruningHook prunes '
                'inside a distributed training'
            )
        settings = PlannerSettings(
            criterion=args.criterion,
            budget=args.budget,
            budget_of=args.budget_of,
            significance=SignificanceTest(args.least_gain, args.z),
            cut=args.cut,
            map_tolerance=args.map_tolerance,
            shortlist=args.shortlist,
            max_drop=args.max_drop,
            drop_limit=args.drop_limit,
            seed=args.seed,
        )
        options = CompressionOptions(
            samples=sampler_options(args.samples),
            max_samples=args.max_samples,
            head_samples=args.head_samples,
            head=HeadSearch(epochs=args.head_epochs, seed=args.seed),
            batch_size=args.batch_size,
            test=not args.no_test,
            overwrite=args.overwrite,
        )
        cfg = load_config(args)
        try:
            with progress_bars() as progress:
                compress(cfg, args.config, args.checkpoint, args.out, settings, options, progress)
        except KeyboardInterrupt:
            print(f'interrupted: nothing was written to {args.out}', file=sys.stderr)
            sys.exit(INTERRUPTED)


if __name__ == '__main__':
    main()
