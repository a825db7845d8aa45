"""Time inference of models before and after half of their channels were removed."""

import argparse
import copy
import json
import os
import statistics
import time
from pathlib import Path

import torch
from mmengine import Config
from mmengine.registry import MODELS, DefaultScope
from rich.console import Console
from torch import nn

from mmlayerwise.compression import CompressionPlan, apply_plan, fingerprint
from mmlayerwise.compression.dependency.graph import ChannelGraph
from mmlayerwise.compression.dependency.slicing import is_depthwise
from mmlayerwise.utils.environment import describe_environment
from mmlayerwise.utils.errors import UserError, report_errors
from mmlayerwise.utils.files import write_atomically
from mmlayerwise.zoo import ZooModel

SEED = 0
# Config, images a batch, side of an image.
MODELS_TO_TIME = {
    'vgg16': ('configs/vgg/vgg16_1xb128-200e_cifar10.py', 16, 32),
    'retinanet_r18': ('mmdet::retinanet/retinanet_r18_fpn_1x_coco.py', 1, 320),
}


def build(location: str) -> nn.Module:
    """Build the model of a config with initial weights."""
    config = Config.fromfile(ZooModel(location, location, 0).config_path)
    if 'init_cfg' in config.model.backbone:
        config.model.backbone.init_cfg = None
    with DefaultScope.overwrite_default_scope(config.default_scope):
        return MODELS.build(config.model)


def share_plan(model: nn.Module, share: float, size: tuple[int, int]) -> CompressionPlan:
    """A plan that keeps the first channels of every layer."""
    graph = ChannelGraph(model, size)
    modules = dict(model.named_modules())
    widths = {
        name: graph.width((name, 'out'))
        for name in graph.layers()
        if not is_depthwise(modules[name])
    }
    channels = {name: list(range(max(1, round(share * width)))) for name, width in widths.items()}
    return CompressionPlan(fingerprint(model), channels=channels)


def seconds_of(models: list[nn.Module], images: torch.Tensor, repeats: int) -> list[float]:
    """Median time of a forward pass of each model, taken by turns so that all see the same load."""
    times: list[list[float]] = [[] for _ in models]
    with torch.inference_mode():
        for _ in range(repeats + 2):
            for model, taken in zip(models, times, strict=True):
                start = time.perf_counter()
                model(images)
                taken.append(time.perf_counter() - start)
    return [statistics.median(taken[2:]) for taken in times]  # the first two warm up


def measure(name: str, arguments: argparse.Namespace) -> dict[str, float]:
    """Time one model and its smaller form."""
    torch.manual_seed(SEED)
    location, batch_size, side = MODELS_TO_TIME[name]
    original = build(location)
    smaller = copy.deepcopy(original)
    plan = share_plan(original, arguments.share, (side, side))
    start = time.perf_counter()
    report = apply_plan(smaller, plan, (side, side))
    surgery = time.perf_counter() - start
    original.eval()
    smaller.eval()
    images = torch.randn(batch_size, 3, side, side)
    before, after = seconds_of([original, smaller], images, arguments.repeats)
    return {
        'batch_size': batch_size,
        'image_side': side,
        'share_of_channels': arguments.share,
        'share_of_parameters': report.savings.kept('parameters'),
        'share_of_multiply_adds': report.savings.kept('flops'),
        'share_of_seconds': after / before,
        'multiply_adds_before': report.before.flops,
        'multiply_adds_after': report.after.flops,
        'seconds_before': before,
        'seconds_after': after,
        'seconds_of_surgery': surgery,
    }


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--out', type=Path, metavar='FILE', help='also write the numbers as JSON')
    parser.add_argument(
        '--models',
        nargs='+',
        choices=tuple(MODELS_TO_TIME),
        default=list(MODELS_TO_TIME),
        metavar='NAME',
        help=f'which models: {", ".join(MODELS_TO_TIME)} (default: all)',
    )
    parser.add_argument(
        '--share', type=float, default=0.5, help='channels that stay (default: %(default)s)'
    )
    parser.add_argument(
        '--repeats', type=int, default=15, help='timed forward passes (default: %(default)s)'
    )
    parser.add_argument(
        '--threads', type=int, default=2, help='CPU threads of torch (default: %(default)s)'
    )
    return parser.parse_args()


def main() -> None:
    """Measure, print, and write the result."""
    arguments = parse_arguments()
    if not 0 < arguments.share <= 1 or arguments.repeats < 1:
        raise UserError('--share must be above 0 and at most 1, --repeats at least 1')
    torch.set_num_threads(arguments.threads)
    console = Console(stderr=True)
    results = {}
    for name in arguments.models:
        with console.status(f'Timing {name}'):
            results[name] = found = measure(name, arguments)
        print(
            f'{name}: {found["share_of_channels"]:.0%} of the channels, '
            f'{found["share_of_multiply_adds"]:.1%} of the multiply-adds, '
            f'{found["share_of_seconds"]:.1%} of the time '
            f'({1000 * found["seconds_before"]:.1f} -> {1000 * found["seconds_after"]:.1f} ms)'
        )
    if arguments.out:
        report = {'environment': {**describe_environment(), 'seed': SEED}, 'results': results}
        report['environment']['load_average'] = os.getloadavg()[0]
        with write_atomically(arguments.out) as temporary:
            temporary.write_text(json.dumps(report, indent=2) + '\n')
        print(f'numbers: {arguments.out}')


if __name__ == '__main__':
    with report_errors():
        main()
