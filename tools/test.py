"""Test a trained detector, segmentor or classifier."""

import argparse
from collections.abc import Sequence

import mmlayerwise  # noqa: F401  (supplies the operators before a toolbox is imported)
from mmlayerwise.engine import testing
from mmlayerwise.engine.launch import add_common_arguments, build_runner, load_config
from mmlayerwise.utils.errors import report_errors

EXAMPLES = """\
examples:
  python tools/test.py configs/quickstart/detection.py work_dirs/detection/epoch_1.pth
  python tools/test.py CONFIG CHECKPOINT --out predictions.pkl --show-dir pictures
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
    parser.add_argument('checkpoint', help='the weights: a file or an address')
    parser.add_argument(
        '--out',
        metavar='FILE.pkl|DIR',
        help='save the predictions: pickled to FILE.pkl, or for segmentation as images to DIR',
    )
    parser.add_argument('--show', action='store_true', help='show the predictions in windows')
    parser.add_argument(
        '--show-dir',
        metavar='DIR',
        help='save pictures of the predictions; for detection DIR is inside the work directory, '
        'in the folder of this run',
    )
    parser.add_argument(
        '--wait-time',
        type=float,
        default=2,
        metavar='SECONDS',
        help='how long --show shows each picture (default: 2)',
    )
    parser.add_argument(
        '--tta',
        action='store_true',
        help='test-time augmentation as tta_model and tta_pipeline of the config say',
    )
    add_common_arguments(parser)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Build the runner and test."""
    args = parse_args(argv)
    with report_errors():
        cfg = load_config(args)
        testing.load_checkpoint_from(cfg, args.checkpoint)
        if args.show or args.show_dir:
            testing.show_predictions(cfg, args.show, args.show_dir, args.wait_time)
        if args.tta:
            testing.enable_tta(cfg)
        pickled = args.out is not None and args.out.endswith(testing.PICKLE_SUFFIXES)
        if args.out is not None and not pickled:
            testing.save_predicted_maps(cfg, args.out)
        runner = build_runner(cfg, splits=('test',))
        if pickled:
            testing.dump_predictions(runner, args.out)
        runner.test()
        runner.logger.info(f'Logs and metrics are in {runner.log_dir}.')


if __name__ == '__main__':
    main()
