"""Measure how many images a second a model handles, as mmdet's benchmark does, on any device.

Times test_step, image by image: normalising, the network and the post-processing, without reading
the file. The images come from the config's test data, or are random with --shape.

Examples:
  python tools/analysis_tools/benchmark.py configs/quickstart/detection.py --max-iter 50
  python tools/analysis_tools/benchmark.py mmdet::yolox/yolox_s_8xb8-300e_coco.py --shape 640 640
  python tools/analysis_tools/benchmark.py CONFIG --checkpoint CHECKPOINT --out speed.json
"""

import argparse
import copy
import dataclasses
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from mmcv.cnn import fuse_conv_bn
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.registry import MODELS, init_default_scope
from mmengine.runner import Runner, load_checkpoint
from rich.progress import track
from torch import nn

import mmlayerwise  # noqa: F401  (supplies the operators before a toolbox is imported)
from mmlayerwise.engine.distributed import adapt_to_cpu
from mmlayerwise.engine.launch import add_common_arguments, load_config
from mmlayerwise.engine.speed import Speed, measure_speed, synthetic_batch
from mmlayerwise.utils.config_check import check_config
from mmlayerwise.utils.data_check import check_data
from mmlayerwise.utils.environment import describe_environment
from mmlayerwise.utils.errors import UserError, report_errors
from mmlayerwise.utils.files import write_atomically


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help='a config file, or package::folder/name.py')
    parser.add_argument('--checkpoint', help='weights to load (default: random ones)')
    parser.add_argument(
        '--shape',
        nargs=2,
        type=int,
        metavar=('HEIGHT', 'WIDTH'),
        help='time a random image of this size instead of the test data',
    )
    parser.add_argument(
        '--max-iter', type=int, default=100, metavar='N', help='images to time (default: 100)'
    )
    parser.add_argument(
        '--num-warmup', type=int, default=5, metavar='N', help='untimed images (default: 5)'
    )
    parser.add_argument(
        '--repeat-num', type=int, default=1, metavar='N', help='measure so often (default: 1)'
    )
    parser.add_argument(
        '--fuse-conv-bn', action='store_true', help='merge normalisations into convolutions'
    )
    parser.add_argument('--out', metavar='FILE', help='write the result as JSON')
    add_common_arguments(parser)
    args = parser.parse_args(argv)
    for option in ('max_iter', 'repeat_num'):
        if getattr(args, option) < 1:
            parser.error(f'--{option.replace("_", "-")} must be at least 1')
    return args


def build_model(cfg: Config, checkpoint: str | None, fuse: bool) -> nn.Module:
    """Build the model for inference on the machine's device.

    Args:
        cfg: The config.
        checkpoint: Weights, or None for random ones.
        fuse: Merge batch normalisations into the convolutions before them.

    Returns:
        The model in evaluation mode.
    """
    if checkpoint is not None and not Path(checkpoint).is_file():
        raise UserError(f'checkpoint {checkpoint!r} does not exist')
    model = MODELS.build(cfg.model)
    if checkpoint is not None:
        load_checkpoint(model, checkpoint, map_location='cpu')
    if fuse:
        model = fuse_conv_bn(model)
    return model.to(get_device()).eval()


def images(cfg: Config, shape: Sequence[int] | None) -> Iterable[Any]:
    """Batches of one image, from the test data or random."""
    if shape is not None:
        return [synthetic_batch(cfg, tuple(shape))]
    check_data(cfg, ('test',))
    loader = copy.deepcopy(cfg.test_dataloader)
    loader.update(batch_size=1, num_workers=0, persistent_workers=False)
    return Runner.build_dataloader(loader)


def main(argv: Sequence[str] | None = None) -> None:
    """Build, time, report."""
    args = parse_args(argv)
    with report_errors():
        cfg = load_config(args)
        check_config(cfg)
        adapt_to_cpu(cfg)
        init_default_scope(cfg.get('default_scope', 'mmengine'))
        model = build_model(cfg, args.checkpoint, args.fuse_conv_bn)
        batches = list(images(cfg, args.shape)) if args.shape else images(cfg, None)
        results: list[Speed] = []
        for _ in range(args.repeat_num):
            speeds = measure_speed(model, batches, args.max_iter, args.num_warmup)
            *_, last = track(speeds, 'images', total=args.max_iter, transient=True)
            results.append(last)
            print(
                f'{last.images_per_second:.2f} images a second; {1e3 * last.median_seconds:.1f} ms '
                f'an image in the middle, {1e3 * last.slowest_tenth_seconds:.1f} ms for nine of ten'
            )
        if args.out:
            report = {
                'config': args.config,
                'checkpoint': args.checkpoint,
                'shape': args.shape,
                'fuse_conv_bn': args.fuse_conv_bn,
                'device': get_device(),
                'num_parameters': sum(one.numel() for one in model.parameters()),
                'runs': [dataclasses.asdict(one) for one in results],
                'environment': describe_environment(),
            }
            with write_atomically(Path(args.out)) as temporary:
                temporary.write_text(json.dumps(report, indent=1) + '\n')
            print(f'result:  {args.out}')


if __name__ == '__main__':
    main()
