"""Time quasi least squares of VGG-16's first layer on CIFAR-10, and measure the memory it takes."""

import argparse
import json
import os
import resource
import time
from pathlib import Path

import torch
from rich.console import Console
from torch import nn

from mmlayerwise.datasets import CIFAR10
from mmlayerwise.forward import QLSEpoch, QuasiLeastSquares
from mmlayerwise.forward.eigen_initialization import EigenFilters
from mmlayerwise.forward.normal_matrices import normal_matrices
from mmlayerwise.forward.patches import ConvolutionPatches
from mmlayerwise.forward.triplets import Triplets
from mmlayerwise.utils.environment import describe_environment
from mmlayerwise.utils.errors import UserError, report_errors
from mmlayerwise.utils.files import write_atomically

SEED = 0
NUM_FILTERS = 64
LIMIT_SECONDS = 360
LIMIT_GIBIBYTES = 4
LEAST_SHARE_OF_MATMUL = 1 / 3


def balanced_images(data_root: Path, num_images: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Read class-balanced, normalised training images of CIFAR-10."""
    images, labels = CIFAR10(str(data_root / 'cifar-10-batches-py'), lazy_init=True).load_arrays()
    labels = torch.as_tensor(labels)
    rows = [(labels == label).nonzero()[: num_images // 10, 0] for label in range(10)]
    rows = torch.cat(rows)
    chosen = torch.as_tensor(images)[rows].permute(0, 3, 1, 2).float()
    mean, std = chosen.mean((0, 2, 3), keepdim=True), chosen.std((0, 2, 3), keepdim=True)
    return (chosen - mean) / std, labels[rows]


def matmul_rate(size: int = 2048, repeats: int = 5) -> float:
    """Operations a second of a square float32 matrix product, the best of several."""
    left, right = torch.randn(2, size, size)
    best = float('inf')
    for _ in range(repeats):
        start = time.perf_counter()
        left @ right
        best = min(best, time.perf_counter() - start)
    return 2 * size**3 / best


def normal_matrix_rate(
    layer: nn.Conv2d, images: torch.Tensor, labels: torch.Tensor, repeats: int = 3
) -> float:
    """Operations a second of the normal matrices, counted as 4 n S D^2 F, the best of several."""
    patches = ConvolutionPatches(layer, images, batch_norm=True)
    filters = EigenFilters(patches).initial()
    order = labels.argsort(stable=True)
    # Any triplets cost the same: the neighbour within the class, the sample half the data away.
    friends, enemies = torch.empty_like(order), torch.empty_like(order)
    friends[order], enemies[order] = order.roll(1), order.roll(len(order) // 2)
    triplets = Triplets(friends, enemies, 0.0)
    best = float('inf')
    for _ in range(repeats):
        start = time.perf_counter()
        normal_matrices(patches, filters, triplets)
        best = min(best, time.perf_counter() - start)
    operations = 4 * len(images) * patches.num_positions * patches.dimension**2 * NUM_FILTERS
    return operations / best


def measure(arguments: argparse.Namespace, console: Console) -> dict[str, object]:
    """Run the benchmark."""
    torch.manual_seed(SEED)
    torch.set_num_threads(arguments.threads)
    images, labels = balanced_images(arguments.data_root, arguments.num_images)
    layer = nn.Conv2d(3, NUM_FILTERS, 3, padding=1)
    with console.status('Timing the matrix products'):
        matmul = matmul_rate()
        few = slice(None, None, max(1, len(images) // 200))
        normal = normal_matrix_rate(layer, images[few], labels[few])
        matmul = max(matmul, matmul_rate())

    def report(epoch: QLSEpoch) -> None:
        console.print(
            f'epoch {epoch.epoch}: margin {epoch.margin:.4f}, '
            f'separation index {epoch.separation_index:.4f}, {time.perf_counter() - start:.0f} s'
        )

    start = time.perf_counter()
    result = QuasiLeastSquares(epochs=arguments.epochs).fit(
        layer, images, labels, batch_norm=True, report=report
    )
    seconds = time.perf_counter() - start
    return {
        'num_images': len(images),
        'epochs': len(result.history) - 1,
        'seconds': seconds,
        'limit_seconds': LIMIT_SECONDS,
        'peak_memory_gib': resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        'limit_gib': LIMIT_GIBIBYTES,
        'matmul_gflops': matmul / 1e9,
        'normal_matrices_gflops': normal / 1e9,
        'share_of_matmul': normal / matmul,
        'least_share_of_matmul': LEAST_SHARE_OF_MATMUL,
        'history': result.to_dict()['history'],
    }


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog='The limits are 6 minutes, 4 GiB for the whole process, and for the normal matrices '
        'a third of the rate of a plain matrix product, on two cores.',
    )
    parser.add_argument(
        '--data-root',
        type=Path,
        default=Path(os.environ.get('MMLAYERWISE_DATA_ROOT', 'data')),
        help='folder with cifar-10-batches-py (default: $MMLAYERWISE_DATA_ROOT or data)',
    )
    parser.add_argument('--out', type=Path, metavar='FILE', help='also write the numbers as JSON')
    parser.add_argument(
        '--num-images', type=int, default=2000, help='images to learn from (default: %(default)s)'
    )
    parser.add_argument('--epochs', type=int, default=8, help='steps (default: %(default)s)')
    parser.add_argument(
        '--threads', type=int, default=2, help='CPU threads of torch (default: %(default)s)'
    )
    return parser.parse_args()


def main() -> None:
    """Measure, print, and write the result."""
    arguments = parse_arguments()
    if arguments.num_images < 20:
        raise UserError(f'--num-images must be at least 20, got {arguments.num_images}')
    console = Console(stderr=True)
    result = measure(arguments, console)
    print(
        f'{result["num_images"]} images, {result["epochs"]} epochs: {result["seconds"]:.0f} s '
        f'(limit {LIMIT_SECONDS}), {result["peak_memory_gib"]:.2f} GiB (limit {LIMIT_GIBIBYTES})\n'
        f'normal matrices: {result["normal_matrices_gflops"]:.1f} GFLOP/s, '
        f'{result["share_of_matmul"]:.2f} of the matrix product '
        f'(at least {LEAST_SHARE_OF_MATMUL:.2f})'
    )
    if arguments.out:
        report = {'environment': {**describe_environment(), 'seed': SEED}, 'results': result}
        report['environment']['load_average'] = os.getloadavg()[0]
        with write_atomically(arguments.out) as temporary:
            temporary.write_text(json.dumps(report, indent=2) + '\n')
        print(f'numbers: {arguments.out}')


if __name__ == '__main__':
    with report_errors():
        main()
