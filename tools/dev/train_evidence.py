"""Train a config that measures its layers and keep loss, metrics and index per layer as evidence.

Writes NAME.json (losses, validation metrics, separation record, command, versions, hardware, seed)
and NAME.png (loss on the left, index per layer on the right).

Examples:
  python tools/dev/train_evidence.py configs/retinanet/retinanet_r18_fpn_1xb8-6e_coco-mini.py
  python tools/dev/train_evidence.py CONFIG --out results/training --cfg-options randomness.seed=1
"""

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import mmlayerwise  # noqa: F401  (supplies the operators before a toolbox is imported)
from mmlayerwise.engine.launch import add_common_arguments, build_runner, load_config
from mmlayerwise.engine.scalar_log import curve_of, read_scalars
from mmlayerwise.separation.record import SeparationRecord
from mmlayerwise.utils.environment import describe_environment
from mmlayerwise.utils.errors import UserError, report_errors
from mmlayerwise.utils.files import write_atomically
from mmlayerwise.visualization.training_plot import draw_training


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help='a config with a SeparationHook')
    parser.add_argument(
        '--out',
        default='results/training',
        metavar='DIR',
        help='folder for the JSON and the picture (default: %(default)s)',
    )
    add_common_arguments(parser)
    return parser.parse_args(argv)


def validation_of(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Pick the metrics of validation from the scalar log.

    Args:
        lines: As :func:`~mmlayerwise.engine.scalar_log.read_scalars` gives them.

    Returns:
        A ``step`` and the metrics of every validation.
    """
    validation = [
        {key: value for key, value in one.items() if '/' in key or key in ('step', 'mIoU', 'aAcc')}
        for one in lines
        if 'loss' not in one and 'lr' not in one
    ]
    return [one for one in validation if set(one) - {'step'}]


def main(argv: Sequence[str] | None = None) -> None:
    """Train, collect, draw."""
    args = parse_args(argv)
    with report_errors():
        cfg = load_config(args)
        runner = build_runner(cfg)
        started = time.perf_counter()
        runner.train()
        seconds = time.perf_counter() - started
        record_path = Path(runner.work_dir, 'separation.json')
        if not record_path.is_file():
            raise UserError(
                f'{args.config} measured nothing: add '
                "custom_hooks = [dict(type='mmlayerwise.SeparationHook')] to it"
            )
        lines = read_scalars(runner)
        training = curve_of(lines, 'loss')
        name = Path(args.config).stem
        target = Path(args.out, f'{name}.json')
        result = {
            'config': args.config,
            'environment': describe_environment(),
            'seed': runner.seed,
            'wall_seconds': round(seconds, 1),
            'training': training,
            'validation': validation_of(lines),
            'separation': json.loads(record_path.read_text()),
        }
        with write_atomically(target) as temporary:
            temporary.write_text(json.dumps(result, indent=1) + '\n')
        picture = target.with_suffix('.png')
        draw_training(training, SeparationRecord.load(record_path), picture, title=name)
        print(f'evidence:  {target}\npicture:   {picture}')


if __name__ == '__main__':
    main()
