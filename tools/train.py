"""Train a detector, segmentor or classifier from a config."""

import argparse
from collections.abc import Sequence

import mmlayerwise  # noqa: F401  (supplies the operators before a toolbox is imported)
from mmlayerwise.engine.launch import add_common_arguments, build_runner, load_config
from mmlayerwise.engine.training import enable_amp, enable_auto_scale_lr, resume_from
from mmlayerwise.utils.errors import report_errors

EXAMPLES = """\
examples:
  python tools/train.py configs/quickstart/detection.py
  python tools/train.py configs/quickstart/detection.py --resume
  python tools/train.py mmdet::retinanet/retinanet_r18_fpn_1x_coco.py --amp \\
      --cfg-options train_dataloader.batch_size=4 randomness.seed=0
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
        '--resume',
        nargs='?',
        const='auto',
        metavar='CHECKPOINT',
        help='continue from this checkpoint, or without a value from the latest one in the work '
        'directory; where there is none yet, training starts fresh',
    )
    parser.add_argument(
        '--amp', action='store_true', help='train in automatic mixed precision (accelerators only)'
    )
    parser.add_argument(
        '--auto-scale-lr',
        action='store_true',
        help='scale the learning rate by actual batch size / auto_scale_lr.base_batch_size',
    )
    add_common_arguments(parser)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Build the runner and train."""
    args = parse_args(argv)
    with report_errors():
        cfg = load_config(args)
        notes = []
        if args.amp:
            enable_amp(cfg)
        if args.auto_scale_lr:
            enable_auto_scale_lr(cfg)
        if args.resume is not None:
            notes.append(resume_from(cfg, args.resume))
        runner = build_runner(cfg)
        for note in notes:
            runner.logger.info(note)
        # Said first, so that the paths of what a hook made stand last.
        runner.logger.info(f'Checkpoints and logs go to {runner.work_dir}.')
        runner.train()


if __name__ == '__main__':
    main()
