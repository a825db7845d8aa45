"""Time the greedy selection of feature maps next to naive recomputation, and compare their results.

Naive means: in every step, for every candidate, the distances of all pairs of samples in the
chosen maps and the candidate are computed anew, in float64, and the nearest neighbours read off.
Two forms are timed on a smaller case, next to the greedy search, and all have to choose the same
maps: by differences (torch.cdist without matrix products), whose neighbours are exact like those of
the greedy search, and by one matrix product, which is faster and loses digits where points are
near. The limit is on the exact form; both ratios are written. Memory is the growth of the process's
peak, each case in a process of its own.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor

from mmlayerwise.separation.neighbors import DEFAULT_MEMORY
from mmlayerwise.separation.selection import rank_features
from mmlayerwise.utils.environment import describe_environment
from mmlayerwise.utils.errors import UserError, report_errors
from mmlayerwise.utils.files import write_atomically

SEED = 0
NUM_CLASSES = 10
# What the search is held to.
LIMIT_SECONDS, LIMIT_RATIO = 180.0, 30.0

EXAMPLES = """\
examples:
  python tools/benchmarks/selection.py --threads 2
  python tools/benchmarks/selection.py --samples 500 --maps 64 --small 200 32     a quick look
"""


def make_maps(samples: int, maps: int, side: int) -> tuple[Tensor, Tensor]:
    """Rectified maps as a trained layer might give them: few tell much, most tell little.

    Args:
        samples: How many samples, of ten classes in turn.
        maps: How many maps.
        side: Height and width of a map.

    Returns:
        float32 of shape (samples, maps, side, side) and int64 of shape (samples,).
    """
    generator = torch.Generator().manual_seed(SEED)
    labels = torch.arange(samples) % NUM_CLASSES
    strength = torch.rand((maps, 1, 1), generator=generator) ** 3
    means = torch.randn((NUM_CLASSES, maps, side, side), generator=generator) * strength
    noise = torch.randn((samples, maps, side, side), generator=generator)
    return (means[labels] + noise).relu_(), labels


def naive_ranking(features: Tensor, labels: Tensor, by_products: bool) -> list[int]:
    """Greedy forward selection that computes every distance matrix anew, in float64.

    Args:
        features: Shape (num_samples, num_maps, ...).
        labels: int64 of shape (num_samples,).
        by_products: Whether distances come of a matrix product instead of differences.
    """
    values = features.flatten(2).double()
    num_maps = values.shape[1]
    chosen: list[int] = []
    while len(chosen) < num_maps:
        best, winner = -1, -1
        for candidate in range(num_maps):
            if candidate in chosen:
                continue
            points = values[:, [*chosen, candidate]].flatten(1)
            if by_products:
                norms = points.square().sum(1)
                distances = torch.addmm(norms, points, points.T, alpha=-2).add_(norms[:, None])
            else:
                mode = 'donot_use_mm_for_euclid_dist'
                distances = torch.cdist(points, points, compute_mode=mode)
            distances.fill_diagonal_(torch.inf)
            friends = int((labels[distances.argmin(1)] == labels).sum())
            if friends > best:
                best, winner = friends, candidate
        chosen.append(winner)
    return chosen


def run_case(name: str, samples: int, maps: int, side: int, shortlist: int | None) -> dict:
    """Time one case in this process.

    Args:
        name: ``'greedy'``, ``'naive'`` or ``'products'``.
        samples: How many samples.
        maps: How many maps.
        side: Height and width of a map.
        shortlist: Candidates of each step, for the greedy search.
    """
    features, labels = make_maps(samples, maps, side)
    rank_features(features[:100, :8], labels[:100])  # the first call of anything is slow
    before = resource.getrusage(resource.RUSAGE_SELF)
    started = time.perf_counter()
    if name != 'greedy':
        order, index = naive_ranking(features, labels, name == 'products'), None
    else:
        ranking = rank_features(features, labels, shortlist=shortlist)
        order, index = ranking.order, ranking.indices.max().item()
    seconds = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_SELF)
    return {
        'seconds': round(seconds, 3),
        'processor_seconds': round(after.ru_utime - before.ru_utime, 3),
        'peak_growth_mib': round((after.ru_maxrss - before.ru_maxrss) / 1024, 1),
        'features_mib': round(features.numel() * 4 / 2**20, 1),
        'best_index': index,
        'order': order,
    }


def in_a_process(arguments: Sequence[str]) -> dict:
    """Run one case of this script in a process of its own."""
    command = [sys.executable, __file__, '--case', *arguments]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--samples', type=int, default=2000, help='(default: %(default)s)')
    parser.add_argument('--maps', type=int, default=512, help='(default: %(default)s)')
    parser.add_argument('--side', type=int, default=2, help='of a map (default: %(default)s)')
    parser.add_argument(
        '--small',
        type=int,
        nargs=2,
        default=(1000, 96),
        metavar=('SAMPLES', 'MAPS'),
        help='case on which naive recomputation is timed (default: 1000 96)',
    )
    parser.add_argument('--shortlist', type=int, default=64, help='(default: %(default)s)')
    parser.add_argument('--threads', type=int, default=2, help='of torch (default: %(default)s)')
    parser.add_argument(
        '--out',
        type=Path,
        default=Path('results/benchmarks/selection.json'),
        metavar='FILE',
        help='(default: %(default)s)',
    )
    parser.add_argument('--case', nargs='+', help=argparse.SUPPRESS)
    return parser.parse_args(argv)


def measure_all(args: argparse.Namespace) -> dict[str, dict]:
    """Time the cases one after the other."""
    large, small = (args.samples, args.maps), tuple(args.small)
    threads, side = str(args.threads), str(args.side)
    cases = {
        'greedy, small case': ['greedy', *map(str, small), side, '0', threads],
        'naive, small case': ['naive', *map(str, small), side, '0', threads],
        'naive by products, small case': ['products', *map(str, small), side, '0', threads],
        'greedy with shortlist': ['greedy', *map(str, large), side, str(args.shortlist), threads],
        'greedy, exact': ['greedy', *map(str, large), side, '0', threads],
    }
    console = Console(stderr=True)
    return {
        name: in_a_process(case)
        for name, case in track(cases.items(), 'Timing', total=len(cases), console=console)
    }


def judge(found: dict[str, dict]) -> dict[str, object]:
    """What the timings say of the limits."""
    small, naive = found['greedy, small case'], found['naive, small case']
    products, exact = found['naive by products, small case'], found['greedy, exact']
    return {
        'naive_over_greedy': round(naive['seconds'] / small['seconds'], 1),
        'naive_by_products_over_greedy': round(products['seconds'] / small['seconds'], 1),
        'same_order': naive['order'] == small['order'] == products['order'],
        'exact_seconds': exact['seconds'],
        'shortlist_seconds': found['greedy with shortlist']['seconds'],
        'memory_limit_mib': DEFAULT_MEMORY / 2**20,
        'limits': {'seconds': LIMIT_SECONDS, 'naive_over_greedy': LIMIT_RATIO},
        'within_limits': exact['seconds'] <= LIMIT_SECONDS
        and naive['seconds'] >= LIMIT_RATIO * small['seconds'],
    }


def main(argv: Sequence[str] | None = None) -> None:
    """Time, compare, write."""
    args = parse_args(argv)
    if args.case:
        name, samples, maps, side, shortlist, threads = args.case
        torch.set_num_threads(int(threads))
        found = run_case(name, int(samples), int(maps), int(side), int(shortlist) or None)
        print(json.dumps(found))
        return
    with report_errors():
        if min(args.samples, args.maps, args.side, *args.small, args.threads) < 1:
            raise UserError('samples, maps, side and threads must be at least 1')
        found = measure_all(args)
        verdict = judge(found)
        result = {
            'environment': {**describe_environment(), 'torch_threads': args.threads},
            'seed': SEED,
            'samples': args.samples,
            'maps': args.maps,
            'side': args.side,
            'small_case': list(args.small),
            'verdict': verdict,
            'cases': {
                name: {key: value for key, value in one.items() if key != 'order'}
                for name, one in found.items()
            },
        }
        with write_atomically(args.out) as temporary:
            temporary.write_text(json.dumps(result, indent=1) + '\n')
        table = Table('case', 'seconds', 'processor seconds', 'peak growth, MiB')
        for name, one in found.items():
            table.add_row(
                name,
                f'{one["seconds"]:.2f}',
                f'{one["processor_seconds"]:.2f}',
                f'{one["peak_growth_mib"]:.0f}',
            )
        console = Console()
        console.print(table)
        console.print(
            f'naive / greedy: {verdict["naive_over_greedy"]}, by products '
            f'{verdict["naive_by_products_over_greedy"]}; same order: {verdict["same_order"]}\n'
            f'result: {args.out}'
        )


if __name__ == '__main__':
    main()
