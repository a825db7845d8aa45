"""Let a detector or segmentor learn a few images by heart, and keep the proof.

Trains on a few images of coco_mini (detectors) or CamVid (segmentors) until the training mAP at
IoU 0.5, or the mean IoU, passes 0.9. Writes NAME.json (metric and loss over the steps, settings,
command, versions, hardware, seed) and NAME.png (truth and prediction side by side). On the CPU the
model is made smaller as overfit_settings.yml says; --full leaves it as it is.

Examples:
  python tools/dev/overfit.py configs/yolov2/yolov2_d19_8xb8-ms-160e_coco.py
  python tools/dev/overfit.py CONFIG --full --set max_iterations=2000
"""

import argparse
import dataclasses
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from mmengine.config import Config, DictAction

import mmlayerwise  # noqa: F401  (supplies the operators before a toolbox is imported)
from mmlayerwise.engine.launch import add_common_arguments, build_runner, load_config
from mmlayerwise.engine.overfitting import OverfitSettings, prepare_overfitting
from mmlayerwise.engine.scalar_log import curve_of, read_scalars
from mmlayerwise.utils.environment import describe_environment
from mmlayerwise.utils.errors import UserError, report_errors
from mmlayerwise.utils.files import write_atomically
from mmlayerwise.visualization.prediction_sheet import draw_predictions

SETTINGS = Path(__file__).with_name('overfit_settings.yml')


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help='config of a detector or segmentor')
    parser.add_argument('--full', action='store_true', help='keep the full size of the model')
    names = ', '.join(one.name for one in dataclasses.fields(OverfitSettings))
    parser.add_argument(
        '--set',
        nargs='+',
        action=DictAction,
        default={},
        metavar='KEY=VALUE',
        help=f'change a setting: {names}',
    )
    parser.add_argument(
        '--out',
        default='results/overfit',
        metavar='DIR',
        help='folder for the JSON and the picture (default: %(default)s)',
    )
    add_common_arguments(parser)
    return parser.parse_args(argv)


def read_settings(config: str, full: bool, changes: dict[str, Any]) -> OverfitSettings:
    """Find the settings of a config.

    Args:
        config: The config as named on the command line.
        full: Leave the model as it is.
        changes: Settings from the command line.

    Returns:
        The settings.

    Raises:
        UserError: If a setting does not exist.
    """
    values = {} if full else yaml.safe_load(SETTINGS.read_text()).get(config, {})
    unknown = set(changes) - {one.name for one in dataclasses.fields(OverfitSettings)}
    if unknown:
        raise UserError(f'--set: there is no setting {", ".join(sorted(unknown))}; see --help')
    return OverfitSettings(**{**values, **changes})


def overfit(cfg: Config, settings: OverfitSettings, name: str, out: Path) -> dict[str, Any]:
    """Train, judge, draw.

    Args:
        cfg: The config with its work directory.
        settings: How to overfit.
        name: Of the result.
        out: Folder for the picture.

    Returns:
        The result for the JSON file.
    """
    metric = prepare_overfitting(cfg, settings)
    runner = build_runner(cfg)
    started = time.perf_counter()
    runner.train()
    seconds = time.perf_counter() - started
    lines = read_scalars(runner)
    values = curve_of(lines, metric, 'value')
    target = cfg.custom_hooks[0]['stopping_threshold']
    draw_predictions(runner, out / f'{name}.png')
    return {
        'metric': metric,
        'target': target,
        'reached': bool(values) and values[-1]['value'] >= target,
        'final': values[-1] if values else None,
        'reduced': settings.reduced,
        'settings': dataclasses.asdict(settings),
        'num_parameters': sum(parameter.numel() for parameter in runner.model.parameters()),
        'environment': describe_environment(),
        'seconds': round(seconds, 1),
        'loss': curve_of(lines, 'loss'),
        'curve': values,
    }


def main(argv: Sequence[str] | None = None) -> None:
    """Overfit the config of the command line."""
    args = parse_args(argv)
    with report_errors():
        settings = read_settings(args.config, args.full, args.set)
        name, out = Path(args.config).stem, Path(args.out)
        args.work_dir = args.work_dir or str(Path('work_dirs', 'overfit', name))
        cfg = load_config(args)
        result = {'config': args.config, **overfit(cfg, settings, name, out)}
        target = out / f'{name}.json'
        with write_atomically(target) as temporary:
            temporary.write_text(json.dumps(result, indent=1) + '\n')
        verdict = 'reached' if result['reached'] else 'NOT reached'
        print(f'{result["metric"]}: {result["final"]}, target {result["target"]} {verdict}')
        print(f'evidence:  {target}\npicture:   {target.with_suffix(".png")}')


if __name__ == '__main__':
    main()
