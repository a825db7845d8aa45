"""List the hard and the mislabelled samples of a data set, with pictures of their neighbours."""

import argparse
from collections.abc import Sequence

import mmlayerwise  # noqa: F401  (supplies the operators before a toolbox is imported)
from mmlayerwise.engine.analysis import sampler_options
from mmlayerwise.engine.hard_samples import find_hard_samples
from mmlayerwise.engine.launch import add_common_arguments, load_config
from mmlayerwise.separation.hard_samples import RANKINGS
from mmlayerwise.utils.errors import report_errors

EXAMPLES = """\
A sample is judged by its nearest neighbours in a layer: neighbours that agree on another class
speak of a wrong label, neighbours that contradict each other of a hard sample. Results are
hard_samples.json, hard_samples.csv and hard_samples.png.

examples:
  python tools/analysis_tools/find_hard_samples.py CONFIG CHECKPOINT --out suspects
  python tools/analysis_tools/find_hard_samples.py CONFIG CHECKPOINT --split val --by soft
  python tools/analysis_tools/find_hard_samples.py CONFIG CHECKPOINT --samples BoxSamples \\
      max_images=2000 --layer 'neck[0]' --top 500
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
    parser.add_argument(
        'checkpoint', nargs='?', help='the weights; without one the initial weights are taken'
    )
    parser.add_argument(
        '--split',
        choices=('train', 'val'),
        default='train',
        help='which data to look through; the training images pass the validation pipeline, '
        'so nothing is augmented (default: train)',
    )
    parser.add_argument(
        '--layer',
        metavar='NAME',
        help="where to compare the samples (default: the feature extractor's output)",
    )
    parser.add_argument(
        '--samples',
        nargs='+',
        default=['auto'],
        metavar=('TYPE', 'KEY=VALUE'),
        help='ImageSamples, PixelSamples or BoxSamples with arguments, or auto to follow the '
        'annotations (default: auto)',
    )
    parser.add_argument(
        '--by',
        choices=RANKINGS,
        default='mislabelled',
        help='mislabelled: the neighbours agree on another class; soft: few neighbours are of the '
        'own class; data_score: many nearest neighbours in a row are of others '
        '(default: mislabelled)',
    )
    parser.add_argument(
        '--order', type=int, default=10, metavar='R', help='neighbours that vote (default: 10)'
    )
    parser.add_argument(
        '--max-samples',
        type=int,
        default=20000,
        metavar='N',
        help='compare at most N samples, balanced over the classes (default: 20000)',
    )
    parser.add_argument(
        '--top', type=int, default=200, metavar='N', help='how many to list (default: 200)'
    )
    parser.add_argument(
        '--pictured', type=int, default=24, metavar='N', help='how many to picture (default: 24)'
    )
    parser.add_argument('--seed', type=int, default=0, help='of the choice (default: 0)')
    parser.add_argument('--out', metavar='DIR', help='folder of the results, as --work-dir')
    add_common_arguments(parser)
    args = parser.parse_args(argv)
    if args.out is not None and args.work_dir is not None:
        parser.error('--out and --work-dir both name the folder of the results; give one')
    args.work_dir = args.out or args.work_dir
    return args


def main(argv: Sequence[str] | None = None) -> None:
    """Rank the samples and write the list and the pictures."""
    args = parse_args(argv)
    with report_errors():
        find_hard_samples(
            load_config(args),
            args.checkpoint,
            layer=args.layer,
            samples=sampler_options(args.samples),
            split=args.split,
            by=args.by,
            order=args.order,
            max_samples=args.max_samples,
            top=args.top,
            pictured=args.pictured,
            seed=args.seed,
        )


if __name__ == '__main__':
    main()
