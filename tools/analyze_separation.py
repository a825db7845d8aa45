"""Measure how well each layer of a model separates the classes of the validation data."""

import argparse
from collections.abc import Sequence
from pathlib import Path

import mmlayerwise  # noqa: F401  (supplies the operators before a toolbox is imported)
from mmlayerwise.engine.analysis import analyze, pooling_options, sampler_options
from mmlayerwise.engine.launch import add_common_arguments, load_config
from mmlayerwise.separation.sketch import DEFAULT_DISTORTION, FEATURE_MEMORY
from mmlayerwise.utils.errors import report_errors

EXAMPLES = """\
examples:
  python tools/analyze_separation.py configs/quickstart/detection.py work_dirs/detection/epoch_6.pth
  python tools/analyze_separation.py CONFIG CHECKPOINT --layers auto --max-samples 5000
  python tools/analyze_separation.py CONFIG --layers backbone.layer4 'neck\\.fpn_convs\\..*'
  python tools/analyze_separation.py CONFIG CHECKPOINT --samples BoxSamples output_size=5
  python tools/analyze_separation.py CONFIG CHECKPOINT --samples BoxSamples levels=assigned
  python tools/analyze_separation.py CONFIG CHECKPOINT --pooling 'backbone.*=average' 'neck=4'
  python tools/analyze_separation.py CONFIG CHECKPOINT --out report --run work_dirs/detection
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
        'checkpoint', nargs='?', help='the weights; without one the initial weights are measured'
    )
    parser.add_argument(
        '--layers',
        nargs='+',
        default=['stages'],
        metavar='LAYER',
        help="'stages' (outputs of the backbone's stages, the neck's levels, the heads' towers), "
        "'auto' (every convolution, linear and attention block), or module names and regular "
        'expressions (default: stages)',
    )
    parser.add_argument(
        '--samples',
        nargs='+',
        default=['auto'],
        metavar=('TYPE', 'KEY=VALUE'),
        help='what is compared: ImageSamples, PixelSamples, BoxSamples, InstanceSamples, '
        'TextSamples or TokenSamples with arguments, or auto to follow the annotations '
        '(default: auto)',
    )
    parser.add_argument(
        '--pooling',
        nargs='+',
        metavar='POOLING',
        help='how a map becomes a vector: flatten, average or the side of a grid, for all layers '
        "or as LAYER=POOLING by names and regular expressions (default: the sampler's own way)",
    )
    parser.add_argument(
        '--max-samples',
        type=int,
        default=2000,
        metavar='N',
        help='compare at most N samples, balanced over the classes (default: 2000)',
    )
    parser.add_argument(
        '--order',
        type=int,
        default=5,
        metavar='R',
        help='neighbours for the high-order, soft and anti index (default: 5)',
    )
    parser.add_argument(
        '--feature-memory',
        type=float,
        default=FEATURE_MEMORY / 2**20,
        metavar='MIB',
        help='sketch the vectors of a layer by random projections where they would take more '
        'memory than this (default: %(default)g)',
    )
    parser.add_argument(
        '--distortion',
        type=float,
        default=DEFAULT_DISTORTION,
        metavar='D',
        help='relative error of the distances among sketches, between 0 and 1; the smaller, the '
        'longer they are (default: %(default)g)',
    )
    parser.add_argument(
        '--seed', type=int, default=0, help='of the choice of images and samples (default: 0)'
    )
    parser.add_argument(
        '--out',
        metavar='DIR',
        help='also write report.html, one interactive page that works offline, and put all results '
        'into DIR, as --work-dir does; needs plotly: pip install "mmlayerwise[report]" '
        '(default: no report; the results go into the folder analysis in the work directory of the '
        'config)',
    )
    parser.add_argument(
        '--run',
        metavar='WORK_DIR',
        help='work directory of a training run with SeparationHook; the report then has a slider '
        'over its epochs',
    )
    parser.add_argument(
        '--indices',
        nargs='+',
        default=[],
        metavar='NAME',
        help='further indices to measure, by the names under which plugins give them; they are '
        'written into separation.json and shown in the report',
    )
    parser.add_argument(
        '--render',
        nargs='+',
        metavar='NAME',
        help='how to show the results: picture, report, and what plugins give '
        '(default: picture, and with --out report)',
    )
    add_common_arguments(parser)
    args = parser.parse_args(argv)
    if args.run is not None and args.out is None:
        parser.error('--run goes with --out: it puts the epochs of a run into the report')
    if args.out is not None and args.work_dir is not None:
        parser.error('--out and --work-dir both name the folder of the results; give one')
    if args.out is not None:
        args.work_dir = args.out
    return args


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print the table, write separation.json and show it: separation.png, report.html."""
    args = parse_args(argv)
    with report_errors():
        cfg = load_config(args)
        if args.work_dir is None:
            # The work directory itself holds the record of the training run.
            cfg.work_dir = str(Path(cfg.work_dir) / 'analysis')
        analyze(
            cfg,
            args.checkpoint,
            layers=args.layers[0] if args.layers in (['auto'], ['stages']) else args.layers,
            samples=sampler_options(args.samples),
            pooling=pooling_options(args.pooling),
            max_samples=args.max_samples,
            order=args.order,
            seed=args.seed,
            feature_memory=int(args.feature_memory * 2**20),
            distortion=args.distortion,
            indices=args.indices,
            render=args.render or (['picture'] if args.out is None else ['picture', 'report']),
            run=args.run,
        )


if __name__ == '__main__':
    main()
