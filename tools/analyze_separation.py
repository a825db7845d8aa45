"""Measure how well each layer of a model separates the classes of the validation data."""

import argparse
from collections.abc import Sequence

import mmlayerwise  # noqa: F401  (supplies the operators before a toolbox is imported)
from mmlayerwise.engine.analysis import analyze, sampler_options
from mmlayerwise.engine.launch import add_common_arguments, load_config
from mmlayerwise.utils.errors import report_errors

EXAMPLES = """\
examples:
  python tools/analyze_separation.py configs/quickstart/detection.py work_dirs/detection/epoch_6.pth
  python tools/analyze_separation.py CONFIG CHECKPOINT --layers auto --max-samples 5000
  python tools/analyze_separation.py CONFIG --layers backbone.layer4 'neck\\.fpn_convs\\..*'
  python tools/analyze_separation.py CONFIG CHECKPOINT --samples BoxSamples output_size=5
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
        help='what is compared: ImageSamples, PixelSamples or BoxSamples with arguments, or auto '
        'to follow the annotations (default: auto)',
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
        '--seed', type=int, default=0, help='of the choice of images and samples (default: 0)'
    )
    add_common_arguments(parser)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print the table and write separation.json and separation.png."""
    args = parse_args(argv)
    with report_errors():
        analyze(
            load_config(args),
            args.checkpoint,
            layers=args.layers[0] if args.layers in (['auto'], ['stages']) else args.layers,
            samples=sampler_options(args.samples),
            max_samples=args.max_samples,
            order=args.order,
            seed=args.seed,
        )


if __name__ == '__main__':
    main()
