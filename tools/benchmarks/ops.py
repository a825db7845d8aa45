"""Time the operators that replace mmcv's compiled ones, and measure the memory they take."""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor

import mmlayerwise  # noqa: F401  (supplies the operators before mmcv.ops is imported)
from mmlayerwise.utils.environment import describe_environment
from mmlayerwise.utils.errors import UserError, report_errors
from mmlayerwise.utils.files import write_atomically

SEED = 0
MEBIBYTE = 1 << 20
MEMORY_LIMIT_MIB = 1024

Run = Callable[[], object]
# Makes the inputs on a device; returns the operator and, where there is one, its reference.
Build = Callable[[torch.device], tuple[Run, Run | None]]


@dataclass(frozen=True)
class Case:
    """One row of the table.

    Attributes:
        name: The operator.
        size: What it works on, in words.
        build: Makes the calls to be timed.
        reference: What the second call is, in words; empty if there is none.
        limit_ms: Time it must stay under on two CPU cores, if one is set.
        limit_ratio: Multiple of the reference's time it must stay under, if one is set.
    """

    name: str
    size: str
    build: Build
    reference: str = ''
    limit_ms: float | None = None
    limit_ratio: float | None = None


def scattered_boxes(num: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return boxes of 8 to 108 pixels scattered over 900 x 900 pixels, and their scores."""
    corner, size = torch.rand(num, 2) * 900, torch.rand(num, 2) * 100 + 8
    return torch.cat([corner, corner + size], dim=1).to(device), torch.rand(num).to(device)


def row_by_row_nms(boxes: Tensor, scores: Tensor, threshold: float) -> Tensor:
    """Greedy suppression as commonly written in PyTorch: one kept box against all others."""
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(dim=1)
    order, kept = scores.argsort(descending=True), []
    while order.numel() > 0:
        best, order = order[0], order[1:]
        kept.append(best)
        low = torch.maximum(boxes[best, :2], boxes[order, :2])
        high = torch.minimum(boxes[best, 2:], boxes[order, 2:])
        intersection = (high - low).clamp(min=0).prod(dim=1)
        order = order[intersection <= threshold * (areas[best] + areas[order] - intersection)]
    return torch.stack(kept)


def nms_case(num: int, threshold: float) -> Build:
    """Suppression among scattered boxes; at a threshold of 0.9 nearly all of them stay."""

    def build(device: torch.device) -> tuple[Run, Run]:
        from mmcv.ops import nms

        boxes, scores = scattered_boxes(num, device)
        return (
            lambda: nms(boxes, scores, threshold),
            lambda: row_by_row_nms(boxes, scores, threshold),
        )

    return build


def soft_nms_case(num: int) -> Build:
    """Soft suppression, which has no shortcut: each step depends on the one before."""

    def build(device: torch.device) -> tuple[Run, None]:
        from mmcv.ops import soft_nms

        boxes, scores = scattered_boxes(num, device)
        return lambda: soft_nms(boxes, scores), None

    return build


def scattered_regions(num: int, height: int, width: int, device: torch.device) -> Tensor:
    """Return regions of 4 to 64 by 4 to 44 pixels on one map."""
    size = torch.rand(num, 2) * torch.tensor([60.0, 40.0]) + 4
    corner = torch.rand(num, 2) * (torch.tensor([float(width), float(height)]) - size)
    return torch.cat([torch.zeros(num, 1), corner, corner + size], dim=1).to(device)


def grid_sample_align(maps: Tensor, rois: Tensor, size: int, samples: int) -> Tensor:
    """RoIAlign with a fixed number of samples by way of ``grid_sample``."""
    height, width = maps.shape[2:]
    steps = (torch.arange(size * samples, device=maps.device) + 0.5) / (size * samples)
    low, high = rois[:, None, 1:3], rois[:, None, 3:5]
    points = low + (high - low) * steps[:, None]  # (K, size * samples, 2), x before y
    points = points / points.new_tensor([width, height]) * 2 - 1
    grid = torch.stack(
        torch.broadcast_tensors(points[:, None, :, 0], points[:, :, None, 1]), dim=-1
    )
    sampled = F.grid_sample(
        maps, grid.flatten(0, 1)[None], align_corners=False, padding_mode='border'
    )
    sampled = sampled[0].unflatten(1, (len(rois), -1)).transpose(0, 1)
    return F.avg_pool2d(sampled, samples)


def roi_align_case(sampling_ratio: int, backward: bool = False) -> Build:
    """RoIAlign of 512 regions on a map of a feature pyramid."""

    def build(device: torch.device) -> tuple[Run, Run]:
        from mmcv.ops import roi_align

        maps = torch.randn(1, 256, 100, 152, device=device, requires_grad=backward)
        rois = scattered_regions(512, 100, 152, device)
        gradient = torch.ones(512, 256, 7, 7, device=device)
        return (
            with_backward(
                lambda: roi_align(maps, rois, 7, 1.0, sampling_ratio, 'avg', True),
                gradient if backward else None,
            ),
            with_backward(
                lambda: grid_sample_align(maps, rois, 7, 2), gradient if backward else None
            ),
        )

    return build


def with_backward(run: Callable[[], Tensor], gradient: Tensor | None) -> Run:
    """Return a call that also runs the backward pass, if there is a gradient to start from."""
    return run if gradient is None else lambda: run().backward(gradient)


def roi_pool_case(device: torch.device) -> tuple[Run, None]:
    """RoIPool of 512 regions on the same map."""
    from mmcv.ops import roi_pool

    maps = torch.randn(1, 256, 100, 152, device=device)
    rois = scattered_regions(512, 100, 152, device)
    return lambda: roi_pool(maps, rois, 7, 1.0), None


def deform_conv_case(modulated: bool, backward: bool = False) -> Build:
    """A 3x3 deformable convolution, beside the ordinary one of the same size."""

    def build(device: torch.device) -> tuple[Run, Run]:
        from mmcv.ops import deform_conv2d, modulated_deform_conv2d

        def leaf(*shape: int) -> Tensor:
            return torch.randn(shape, device=device).requires_grad_(backward)

        maps, weight, offset = leaf(1, 256, 50, 76), leaf(256, 256, 3, 3), leaf(1, 18, 50, 76)
        mask = leaf(1, 9, 50, 76)
        gradient = torch.ones(1, 256, 50, 76, device=device) if backward else None
        if modulated:

            def deform() -> Tensor:
                return modulated_deform_conv2d(maps, offset, mask, weight, None, 1, 1, 1, 1, 1)
        else:

            def deform() -> Tensor:
                return deform_conv2d(maps, offset, weight, 1, 1, 1, 1, 1)

        return (
            with_backward(deform, gradient),
            with_backward(lambda: F.conv2d(maps, weight, padding=1), gradient),
        )

    return build


def focal_loss_case(device: torch.device) -> tuple[Run, Run]:
    """The classification loss of a RetinaNet on one image of 800 x 1,216 pixels."""
    from mmcv.ops import sigmoid_focal_loss

    logits = torch.randn(182_403, 80, device=device, requires_grad=True)
    target = torch.randint(81, (len(logits),), device=device)

    def composed() -> None:
        positive = F.one_hot(target, 81)[:, :80].to(logits.dtype)
        probability = logits.sigmoid()
        miss = (1 - probability) * positive + probability * (1 - positive)
        share = 0.25 * positive + 0.75 * (1 - positive)
        entropy = F.binary_cross_entropy_with_logits(logits, positive, reduction='none')
        (entropy * share * miss**2).sum().backward()

    return lambda: sigmoid_focal_loss(logits, target, 2.0, 0.25, None, 'sum').backward(), composed


CASES = (
    Case('nms', '2,000 boxes, IoU 0.5', nms_case(2000, 0.5), 'row by row', limit_ms=30),
    Case('nms', '2,000 boxes, IoU 0.9', nms_case(2000, 0.9), 'row by row', limit_ms=30),
    Case('nms', '10,000 boxes, IoU 0.5', nms_case(10_000, 0.5), 'row by row', limit_ms=600),
    Case('nms', '10,000 boxes, IoU 0.9', nms_case(10_000, 0.9), 'row by row', limit_ms=600),
    Case('soft_nms', '1,000 boxes', soft_nms_case(1000)),
    Case(
        'roi_align',
        '512 boxes, 256x100x152, a sample a pixel',
        roi_align_case(0),
        'grid_sample, 2x2 samples',
        limit_ms=1000,
    ),
    Case(
        'roi_align',
        '512 boxes, 256x100x152, 2x2 samples',
        roi_align_case(2),
        'grid_sample, 2x2 samples',
        limit_ms=1000,
    ),
    Case(
        'roi_align + backward',
        '512 boxes, 256x100x152, a sample a pixel',
        roi_align_case(0, backward=True),
        'grid_sample, 2x2 samples',
    ),
    Case('roi_pool', '512 boxes, 256x100x152', roi_pool_case),
    Case('deform_conv2d', '3x3, 256x50x76', deform_conv_case(False), 'conv2d', limit_ratio=10),
    Case('deform_conv2d + backward', '3x3, 256x50x76', deform_conv_case(False, True), 'conv2d'),
    Case('modulated_deform_conv2d', '3x3, 256x50x76', deform_conv_case(True), 'conv2d'),
    Case(
        'modulated_deform_conv2d + backward',
        '3x3, 256x50x76',
        deform_conv_case(True, True),
        'conv2d',
    ),
    Case('sigmoid_focal_loss + backward', '182,403 x 80', focal_loss_case, 'composed of torch'),
)


def measure(case: Case, device: torch.device, repeats: int) -> dict[str, float | None]:
    """Run one case in this process.

    Operator and reference take turns, so that both meet the same load of the machine.

    Returns:
        Median and minimum times in milliseconds, the ratio of the minima, and ``extra_mib``: how
        far the first call raised the memory of the process (its result included).
    """
    torch.manual_seed(SEED)
    run, reference = case.build(device)
    before = _reset_peak(device)
    run()
    extra = (_peak(device) - before) / MEBIBYTE
    if reference is not None:
        reference()
    calls = {'operator': run, 'reference': reference}
    times: dict[str, list[float]] = {name: [] for name, call in calls.items() if call}
    for _ in range(repeats):
        for name, samples in times.items():
            samples.append(_milliseconds(calls[name], device))
    result: dict[str, float | None] = {'extra_mib': extra}
    for name, samples in times.items():
        result[f'{name}_median_ms'] = statistics.median(samples)
        result[f'{name}_min_ms'] = min(samples)
    if reference is not None:
        result['ratio'] = result['operator_min_ms'] / result['reference_min_ms']
    return result


def _milliseconds(run: Run, device: torch.device) -> float:
    _synchronize(device)
    start = time.perf_counter()
    run()
    _synchronize(device)
    return (time.perf_counter() - start) * 1000


def _synchronize(device: torch.device) -> None:
    if device.type == 'cuda':
        torch.cuda.synchronize(device)


def _reset_peak(device: torch.device) -> int:
    """Start a new measurement of peak memory; return the bytes in use now."""
    if device.type == 'cuda':
        torch.cuda.reset_peak_memory_stats(device)
        return torch.cuda.memory_allocated(device)
    Path('/proc/self/clear_refs').write_text('5')  # Linux: forget the peak
    return _status_bytes('VmRSS')


def _peak(device: torch.device) -> int:
    if device.type == 'cuda':
        return torch.cuda.max_memory_allocated(device)
    return _status_bytes('VmHWM')


def _status_bytes(field: str) -> int:
    for line in Path('/proc/self/status').read_text().splitlines():
        if line.startswith(f'{field}:'):
            return int(line.split()[1]) * 1024
    raise UserError(f'/proc/self/status has no {field}: memory is measured on Linux only')


def measure_apart(index: int, arguments: argparse.Namespace) -> dict[str, float | None]:
    """Run one case in a process of its own, so that none uses memory another has left."""
    command = [sys.executable, __file__, '--case', str(index), '--device', arguments.device]
    command += ['--threads', str(arguments.threads), '--repeats', str(arguments.repeats)]
    process = subprocess.run(command, capture_output=True, text=True)
    if process.returncode:
        case = CASES[index]
        raise UserError(f'{case.name} ({case.size}) failed:\n{process.stderr.strip()}')
    return json.loads(process.stdout.splitlines()[-1])


def within_limits(case: Case, result: dict[str, float | None]) -> bool | None:
    """Tell whether a case keeps its limits of time and memory; None if it has none."""
    if case.limit_ms is None and case.limit_ratio is None:
        return None
    in_time = case.limit_ms is None or result['operator_min_ms'] < case.limit_ms
    in_ratio = case.limit_ratio is None or result['ratio'] < case.limit_ratio
    return in_time and in_ratio and result['extra_mib'] < MEMORY_LIMIT_MIB


def render(results: list[tuple[Case, dict[str, float | None]]], device: str) -> Table:
    """Make the table that is printed."""
    table = Table(title=f'Operators without a compiled mmcv, on {device} (least of the times)')
    for column in ('operator', 'size', 'reference'):
        table.add_column(column)
    for column in ('time', 'reference time', 'ratio', 'limit', 'extra memory'):
        table.add_column(column, justify='right')
    for case, result in results:
        limit = f'{case.limit_ms:g} ms' if case.limit_ms else ''
        limit = f'{case.limit_ratio:g} x' if case.limit_ratio else limit
        colour = {True: 'green', False: 'red', None: ''}[within_limits(case, result)]
        has_reference = 'ratio' in result
        table.add_row(
            case.name,
            case.size,
            case.reference,
            f'{result["operator_min_ms"]:.1f} ms',
            f'{result["reference_min_ms"]:.1f} ms' if has_reference else '',
            f'{result["ratio"]:.2f} x' if has_reference else '',
            f'[{colour}]{limit}[/]' if colour else limit,
            f'{result["extra_mib"]:.0f} MiB',
        )
    return table


def environment(arguments: argparse.Namespace) -> dict[str, object]:
    """Describe what the numbers depend on."""
    return {
        **describe_environment(),
        'device': arguments.device,
        'repeats': arguments.repeats,
        'seed': SEED,
        'load_average': os.getloadavg()[0],  # of the minute before; above the cores, all is slow
    }


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog='Every row runs in a process of its own. Memory is what the first call adds to the '
        "process's resident memory at its peak, its result included. On a busy machine compare "
        'the ratios: operator and reference take turns.',
    )
    parser.add_argument('--out', type=Path, metavar='FILE', help='also write the numbers as JSON')
    parser.add_argument('--only', metavar='TEXT', help='only operators whose name contains TEXT')
    parser.add_argument('--device', default='cpu', help='device to run on (default: %(default)s)')
    parser.add_argument(
        '--threads', type=int, default=2, help='CPU threads of torch (default: %(default)s)'
    )
    parser.add_argument(
        '--repeats', type=int, default=7, help='times each call is timed (default: %(default)s)'
    )
    parser.add_argument('--case', type=int, help=argparse.SUPPRESS)  # for the child processes
    return parser.parse_args()


def main() -> None:
    """Run the benchmark."""
    arguments = parse_arguments()
    torch.set_num_threads(arguments.threads)
    if arguments.case is not None:
        result = measure(CASES[arguments.case], torch.device(arguments.device), arguments.repeats)
        print(json.dumps(result))
        return
    chosen = [i for i, case in enumerate(CASES) if (arguments.only or '') in case.name]
    if not chosen:
        names = ', '.join(sorted({case.name for case in CASES}))
        raise UserError(f'--only {arguments.only!r} matches no operator; there are: {names}')
    report = {'environment': environment(arguments), 'results': []}
    results = []
    console = Console(stderr=True)
    for index in track(chosen, description='Measuring', console=console):
        case, result = CASES[index], measure_apart(index, arguments)
        results.append((case, result))
        report['results'].append(
            {
                'operator': case.name,
                'size': case.size,
                'reference': case.reference,
                'limit_ms': case.limit_ms,
                'limit_ratio': case.limit_ratio,
                'within_limits': within_limits(case, result),
                **result,
            }
        )
    Console(width=None if sys.stdout.isatty() else 160).print(render(results, arguments.device))
    if arguments.out:
        with write_atomically(arguments.out) as temporary:
            temporary.write_text(json.dumps(report, indent=2) + '\n')
        print(f'Numbers written to {arguments.out}')


if __name__ == '__main__':
    with report_errors():
        main()
