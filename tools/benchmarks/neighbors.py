"""Time the exact neighbour search next to other searches and to its bare matrix products."""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor

from mmlayerwise.separation.neighbor_blocks import Plan
from mmlayerwise.separation.neighbor_points import Cloud
from mmlayerwise.separation.neighbors import nearest_neighbors
from mmlayerwise.utils.environment import describe_environment
from mmlayerwise.utils.errors import UserError, report_errors
from mmlayerwise.utils.files import write_atomically

SEED = 0
MEBIBYTE = 2**20
# What the search is held to: multiple of the bare products, and of faiss; MiB beside the points.
LIMIT_TO_PRODUCTS, LIMIT_TO_FAISS, LIMIT_MIB = 1.3, 1.0, 1024
OURS, OWN_PRODUCTS, ALL_PRODUCTS = (
    'exact search',
    'products of its blocks',
    'products of all blocks',
)
FAISS = 'faiss IndexFlatL2'

PARTS = ('time', 'memory')

Run = Callable[[], object]


def make_points(num: int, dimension: int, device: torch.device) -> Tensor:
    """Return what a layer might give: rectified, correlated coordinates."""
    generator = torch.Generator(device).manual_seed(SEED)
    mixing = torch.randn(dimension, dimension, generator=generator, device=device)
    points = torch.empty(num, dimension, device=device)
    for block in points.split(4096):
        block.normal_(generator=generator)
        block.copy_((block @ mixing / dimension**0.5).relu_())
    return points


def products(points: Tensor, tile: int, half: bool) -> None:
    """Multiply blocks of points and keep nothing."""
    buffer = points.new_empty(tile * tile)
    blocks = points.split(tile)
    for number, left in enumerate(blocks):
        for right in blocks[number if half else 0 :]:
            shape = len(left), len(right)
            torch.mm(left, right.T, out=buffer[: shape[0] * shape[1]].view(shape))


def searches(points: Tensor, k: int, memory: int) -> dict[str, Run]:
    """The calls to be timed, by name."""
    num = len(points)
    plan = Plan.make(Cloud(points), num, k, torch.float32, memory, itself=True)
    runs: dict[str, Run] = {
        OURS: lambda: nearest_neighbors(points, k, max_memory=memory),
        OWN_PRODUCTS: lambda: products(points, plan.tile, plan.symmetric),
        ALL_PRODUCTS: lambda: products(points, plan.tile, False),
    }
    if points.is_cuda:
        return runs
    if find_spec('faiss') is not None:
        runs[FAISS] = lambda: faiss_search(points, k)
        runs['exact search, backend faiss'] = lambda: nearest_neighbors(
            points, k, max_memory=memory, backend='faiss'
        )
    runs['scikit-learn brute force'] = lambda: scikit_learn_search(points, k)
    return runs


def faiss_search(points: Tensor, k: int) -> object:
    """Search by faiss's exhaustive float32 index; a point is its own first neighbour."""
    import faiss

    faiss.omp_set_num_threads(torch.get_num_threads())
    index = faiss.IndexFlatL2(points.shape[1])
    index.add(points.numpy())
    return index.search(points.numpy(), k + 1)


def scikit_learn_search(points: Tensor, k: int) -> object:
    """Search by scikit-learn; a point is not its own neighbour."""
    from sklearn.neighbors import NearestNeighbors

    return NearestNeighbors(n_neighbors=k, algorithm='brute').fit(points.numpy()).kneighbors()


def time_calls(runs: dict[str, Run], repeats: int, cuda: bool) -> dict[str, list[float]]:
    """Seconds of each call, taken in turn so that a busy moment hits all of them."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    console = Console(stderr=True)
    for _ in track(range(repeats), description='timing', console=console, transient=True):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            if cuda:
                torch.cuda.synchronize()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def measure_time(args: argparse.Namespace) -> dict:
    """Time everything on one set of points."""
    device = torch.device(args.device)
    points = make_points(args.num_points, args.dimension, device)
    runs = searches(points, args.k, args.memory * MEBIBYTE)
    runs[OURS]()  # what is loaded or compiled at the first use
    seconds = time_calls(runs, args.repeats, device.type == 'cuda')
    typical = {name: statistics.median(values) for name, values in seconds.items()}
    ours = typical[OURS]
    flops = 2 * args.num_points**2 * args.dimension
    return dict(
        environment=describe_environment(),
        num_points=args.num_points,
        dimension=args.dimension,
        k=args.k,
        max_memory_mib=args.memory,
        seconds=seconds,
        median_seconds=typical,
        search_to={name: ours / value for name, value in typical.items() if name != OURS},
        gigaflops_of_all_products=flops / typical[ALL_PRODUCTS] / 1e9,
    )


def measure_memory(num: int, dimension: int, memory: int, k: int) -> dict:
    """Search in a fresh process and read by how much its memory grows at most."""
    command = [sys.executable, __file__, '--memory-child', '--k', str(k)]
    command += ['--memory-points', str(num), '--memory-dimension', str(dimension)]
    command += ['--memory', str(memory // MEBIBYTE), '--threads', str(torch.get_num_threads())]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ)
    if done.returncode:
        raise UserError(f'The process that measures the memory failed:\n{done.stderr.strip()}')
    sizes = dict(num_points=num, dimension=dimension, k=k, max_memory_mib=memory // MEBIBYTE)
    return dict(environment=describe_environment(), **sizes, **json.loads(done.stdout))


def memory_child(args: argparse.Namespace) -> None:
    """Body of the fresh process: print the seconds and the growth of its peak."""
    # A small search first: libraries take their memory at the first use.
    nearest_neighbors(make_points(600, 8, torch.device('cpu')))
    points = make_points(args.memory_points, args.memory_dimension, torch.device('cpu'))
    Path('/proc/self/clear_refs').write_text('5')  # the peak starts anew
    before, start = _peak_mib(), time.perf_counter()
    nearest_neighbors(points, args.k, max_memory=args.memory * MEBIBYTE)
    seconds = time.perf_counter() - start
    grown = _peak_mib() - before
    size = points.nbytes / MEBIBYTE
    print(json.dumps(dict(extra_mib=grown, points_mib=size, seconds=seconds)))


def _peak_mib() -> float:
    for line in Path('/proc/self/status').read_text().splitlines():
        if line.startswith('VmHWM:'):
            return int(line.split()[1]) / 1024
    raise UserError('This system does not tell the peak memory of a process (/proc/self/status).')


def show_time(console: Console, timed: dict) -> None:
    """Print the table of the timing."""
    title = '{num_points:,} points of {dimension:,} dimensions, k = {k}'.format(**timed)
    table = Table('what', title=title)
    for heading in ('seconds (median)', 'fastest', 'search takes'):
        table.add_column(heading, justify='right')
    limits = {OWN_PRODUCTS: LIMIT_TO_PRODUCTS, FAISS: LIMIT_TO_FAISS}
    for name, seconds in timed['seconds'].items():
        ratio = timed['search_to'].get(name)
        cell = '' if ratio is None else f'{ratio:.2f} times this'
        if name in limits:
            cell += f' (aim {limits[name]})'
        median = timed['median_seconds'][name]
        table.add_row(name, f'{median:.3f}', f'{min(seconds):.3f}', cell)
    console.print(table)


def show_memory(console: Console, memory: dict) -> None:
    """Print what the memory run found."""
    console.print(
        '{num_points:,} points of {dimension:,} dimensions: {extra_mib:,.0f} MiB beside the '
        'points ({points_mib:,.0f} MiB), {seconds:.0f} s'.format(**memory)
        + f' (aim {LIMIT_MIB:,} MiB)'
    )


def write(path: Path, results: dict) -> None:
    """Write the parts that were run; what an earlier run wrote of the other part stays."""
    limits = dict(
        search_to_products=LIMIT_TO_PRODUCTS, search_to_faiss=LIMIT_TO_FAISS, extra_mib=LIMIT_MIB
    )
    known = json.loads(path.read_text()) if path.is_file() else {}
    kept = {part: known[part] for part in PARTS if part in known}
    with write_atomically(path) as temporary:
        whole = dict(seed=SEED, limits=limits, **{**kept, **results})
        temporary.write_text(json.dumps(whole, indent=2) + '\n')


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument('--num-points', type=int, default=20_000, help='points of the timing')
    parser.add_argument('--dimension', type=int, default=512, help='dimension of the timing')
    parser.add_argument(
        '--parts',
        nargs='+',
        choices=PARTS,
        default=list(PARTS),
        help='what to measure; with --out, a part that is left out keeps its numbers in the file',
    )
    parser.add_argument('--memory-points', type=int, default=60_000, help='points, memory run')
    parser.add_argument('--memory-dimension', type=int, default=3072, help='of the memory run')
    parser.add_argument('--k', type=int, default=1, help='neighbours')
    parser.add_argument('--memory', type=int, default=256, help='MiB given to the search')
    parser.add_argument('--repeats', type=int, default=3, help='turns; the median is reported')
    parser.add_argument('--threads', type=int, help='of torch and faiss; its own choice if absent')
    parser.add_argument('--device', default='cpu', help='of the timing: cpu or cuda')
    parser.add_argument('--out', type=Path, help='JSON file to write')
    parser.add_argument('--memory-child', action='store_true', help=argparse.SUPPRESS)
    args = parser.parse_args()
    sizes = (
        'num_points', 'dimension', 'memory_points', 'memory_dimension', 'k', 'memory', 'repeats',
    )  # fmt: skip
    for name in sizes:
        if getattr(args, name) < 1:
            raise UserError(f'--{name.replace("_", "-")} must be at least 1.')
    if args.k >= args.num_points:
        raise UserError(f'{args.num_points} points have no {args.k} neighbours; lower --k.')
    if args.device != 'cpu' and not torch.cuda.is_available():
        raise UserError(f'--device {args.device} was asked for, but torch sees no GPU.')
    return args


def main() -> None:
    """Measure, print and write."""
    args = parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    if args.memory_child:
        memory_child(args)
        return
    # Wide enough for the table where the output goes to a file.
    console = Console(width=None if sys.stdout.isatty() else 120)
    results = {}
    if 'time' in args.parts:
        results['time'] = measure_time(args)
        show_time(console, results['time'])
    if 'memory' in args.parts:
        sizes = args.memory_points, args.memory_dimension, args.memory * MEBIBYTE, args.k
        with console.status('measuring the memory in a fresh process'):
            results['memory'] = measure_memory(*sizes)
        show_memory(console, results['memory'])
    if args.out:
        write(args.out, results)
        console.print(f'Numbers written to {args.out}')


if __name__ == '__main__':
    with report_errors():
        main()
