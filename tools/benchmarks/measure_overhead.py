"""What measuring the layers once per epoch costs a training run, in time and in memory."""

import argparse
import json
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.runner import Runner
from rich.console import Console
from rich.progress import track
from rich.table import Table

import mmlayerwise  # noqa: F401  (supplies the operators before a toolbox is imported)
from mmlayerwise.engine.launch import build_runner
from mmlayerwise.engine.separation import InferenceForward, MeasuringData
from mmlayerwise.engine.validation_reading import ValidationReading
from mmlayerwise.separation import SeparationMeter, SeparationProfile, undisturbed
from mmlayerwise.separation.collection import Collection
from mmlayerwise.separation.reading import LayerReading
from mmlayerwise.separation.shares import SharedSamples
from mmlayerwise.utils.environment import describe_environment
from mmlayerwise.utils.errors import UserError, report_errors
from mmlayerwise.utils.files import write_atomically

CONFIG = Path(__file__).parents[2] / 'configs/vgg/vgg16_1xb128-200e_cifar10.py'
# What measuring is held to: share of the epoch, and share of the memory that it may grow by.
LIMIT_OVERHEAD, LIMIT_GROWTH = 0.03, 0.02
# The part that a validation takes anyway.
VALIDATION = 'validation'


class Clock:
    """Adds up the seconds of parts of a measurement.

    Attributes:
        seconds: Of every part; a part within another is not counted in the outer one.
    """

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()
        self._inner = 0.0

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Time a block."""
        before, self._inner = self._inner, 0.0
        start = time.perf_counter()
        try:
            yield
        finally:
            spent = time.perf_counter() - start
            self.seconds[name] += spent - self._inner
            self._inner = before + spent

    def timed(self, name: str, function: Callable) -> Callable:
        """The function, timed."""

        def run(*args: Any, **kwargs: Any) -> Any:
            with self.part(name):
                return function(*args, **kwargs)

        return run

    @contextmanager
    def methods(self, parts: Sequence[tuple[str, type, str]]) -> Iterator[None]:
        """Time methods of classes: (name of the part, class, method)."""
        originals = [getattr(owner, method) for _, owner, method in parts]
        for (name, owner, method), original in zip(parts, originals, strict=True):
            setattr(owner, method, self.timed(name, original))
        try:
            yield
        finally:
            for (_, owner, method), original in zip(parts, originals, strict=True):
                setattr(owner, method, original)


class Measurement:
    """The layers of a runner's model, measured as ``SeparationHook`` does.

    Args:
        runner: With a model and validation data.
        layers: Which layers.
        max_samples: How many samples.
    """

    def __init__(self, runner: Runner, layers: str, max_samples: int) -> None:
        self.model = runner.model
        self.loader = runner.val_loop.dataloader
        self.meter = SeparationMeter(layers, max_samples=max_samples, keep_going=True)
        self.data = MeasuringData.from_dataloader(self.loader)
        # The mode of a validation finds the same layers.
        self.forward = InferenceForward(mode='predict')
        with undisturbed(self.model):
            batch = self.data.first(self.model)
            self.meter.prepare(self.model, batch, self.forward)
            self.data.choose(self.meter.sampler, max_samples)

    def own(self, clock: Clock) -> float:
        """Measure once in forward passes made for it; returns the seconds it took."""
        start = time.perf_counter()
        with self._timed(clock):
            forward = clock.timed('forward passes', self.forward)
            batches = clocked(self.data.batches(self.model), clock)
            profile = self.meter.measure(self.model, batches, forward)
        return self._checked(profile, time.perf_counter() - start)

    def validation(self, clock: Clock) -> float:
        """Measure once in a validation's forward passes; returns the seconds that this adds.

        The validation's own loading and passes are not counted, as it makes them anyway.
        """
        before = clock.seconds.total()
        with undisturbed(self.model), self._timed(clock):
            reading = ValidationReading(
                self.model, self.meter.start_reading(self.model), self.data, self.loader
            )
            batches = clocked(iter(self.loader), clock, VALIDATION)
            for number, batch in enumerate(batches):
                reading.start_batch(number)
                with clock.part(VALIDATION):
                    self.model.val_step(batch)
                reading.end_batch()
            reading.close()
            profile = self.meter.analyse(reading.reading)
        del clock.seconds[VALIDATION]
        return self._checked(profile, clock.seconds.total() - before)

    @contextmanager
    def _timed(self, clock: Clock) -> Iterator[None]:
        parts = [
            ('reading the layers', type(self.meter.sampler), 'extract'),
            ('keeping vectors', Collection, 'add'),
            ('choosing samples', LayerReading, 'offer'),
            ('neighbours', SharedSamples, 'measure'),
            ('class means', SharedSamples, 'center_index'),
        ]
        with clock.methods(parts), clock.part('everything else'):
            yield

    @staticmethod
    def _checked(profile: SeparationProfile, seconds: float) -> float:
        wrong = [layer.error for layer in profile.layers if layer.error]
        if wrong:
            raise UserError(f'The layers could not be measured: {wrong[0]}')
        return seconds


def clocked(batches: Iterator[Any], clock: Clock, name: str = 'loading images') -> Iterator[Any]:
    """Pass batches on and time how long they are waited for."""
    batches = iter(batches)
    while True:
        with clock.part(name):
            batch = next(batches, None)
        if batch is None:
            return
        yield batch


def training_steps(runner: Runner) -> Iterator[float]:
    """Train for ever; yields the seconds of every iteration, its batch's loading included."""
    optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    dataloader = runner.train_loop.dataloader
    while True:
        batches = iter(dataloader)
        for _ in range(len(dataloader)):
            start = time.perf_counter()
            runner.model.train()
            runner.model.train_step(next(batches), optim_wrapper=optim_wrapper)
            yield time.perf_counter() - start


def resident_mib() -> float:
    """Memory of this process."""
    for line in Path('/proc/self/status').read_text().splitlines():
        if line.startswith('VmRSS:'):
            return int(line.split()[1]) / 1024
    raise UserError('This system does not tell the memory of a process (/proc/self/status).')


def measure(runner: Runner, args: argparse.Namespace) -> dict:
    """Train a little and measure the layers, epoch by epoch."""
    steps = training_steps(runner)
    next(steps)  # what is loaded at the first use
    measurement = Measurement(runner, args.layers, args.max_samples)
    ways = dict(own=measurement.own, validation=measurement.validation)
    clocks = {way: Clock() for way in ways}
    measurements: dict[str, list[float]] = {way: [] for way in ways}
    iterations, memory = [], []
    console = Console(stderr=True)
    for _ in track(range(args.epochs), 'epochs', console=console, transient=True):
        iterations += [next(steps) for _ in range(args.iterations)]
        for way, run in ways.items():
            measurements[way].append(run(clocks[way]))
        memory.append(resident_mib())
    batch_size = runner.train_loop.dataloader.batch_size
    per_epoch = -(-args.epoch_images // batch_size)
    epoch = statistics.median(iterations) * per_epoch
    return dict(
        batch_size=batch_size,
        iteration_seconds=iterations,
        epoch=dict(
            images=args.epoch_images,
            iterations=per_epoch,
            seconds=epoch,
            how='extrapolated: iterations of an epoch times the median of those that were timed',
        ),
        layers=[layer.name for layer in measurement.meter.chosen],
        num_samples=len(measurement.data.images),
        forward_passes={
            way: dict(
                measurement_seconds=seconds,
                overhead=statistics.median(seconds) / epoch,
                seconds_of_parts={
                    name: total / args.epochs for name, total in clocks[way].seconds.most_common()
                },
            )
            for way, seconds in measurements.items()
        },
        # The first measurement takes what is kept for the next ones.
        memory=dict(resident_mib=memory, growth=memory[-1] / memory[min(1, len(memory) - 1)] - 1),
    )


def show(result: dict) -> None:
    """Print what was found."""
    console = Console()
    epoch, count = result['epoch']['seconds'], result['num_samples']
    for way, found in result['forward_passes'].items():
        title = f'{count:,} samples, forward passes: {way}'
        table = Table('part of a measurement', title=title)
        table.add_column('seconds', justify='right')
        table.add_column('share of the epoch', justify='right')
        for name, seconds in found['seconds_of_parts'].items():
            table.add_row(name, f'{seconds:.2f}', f'{seconds / epoch:.2%}')
        console.print(table)
        console.print(
            f'An epoch of {result["epoch"]["images"]:,} images takes {epoch:.0f} s '
            f'(extrapolated), measuring {len(result["layers"])} layers {found["overhead"]:.2%} of '
            f'it (aim {LIMIT_OVERHEAD:.0%}).'
        )
    memory = result['memory']
    console.print(
        f'Memory after each epoch: {", ".join(f"{mib:,.0f}" for mib in memory["resident_mib"])} '
        f'MiB; {memory["growth"]:+.2%} since the second (aim {LIMIT_GROWTH:.0%}).'
    )


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument('--config', default=str(CONFIG), help='what is trained')
    parser.add_argument('--layers', default='stages', help="'stages', 'auto' or a layer")
    parser.add_argument('--max-samples', type=int, default=5000, help='compared per epoch')
    parser.add_argument('--epochs', type=int, default=5, help='measurements')
    parser.add_argument(
        '--iterations', type=int, default=10, help='training iterations timed before each'
    )
    parser.add_argument(
        '--epoch-images', type=int, default=50_000, help='images of the epoch compared with'
    )
    parser.add_argument('--threads', type=int, help='of torch; its own choice if absent')
    parser.add_argument('--out', type=Path, help='JSON file to write')
    args = parser.parse_args()
    for name in ('max_samples', 'epochs', 'iterations', 'epoch_images'):
        if getattr(args, name) < 1:
            raise UserError(f'--{name.replace("_", "-")} must be at least 1.')
    if not Path(args.config).is_file():
        raise UserError(f'There is no config {args.config}.')
    return args


def main() -> None:
    """Measure, print and write."""
    args = parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    cfg = Config.fromfile(args.config)
    cfg.custom_hooks = []
    cfg.launcher, cfg.log_level = 'none', 'WARNING'
    with tempfile.TemporaryDirectory() as folder:
        cfg.work_dir = folder
        result = measure(build_runner(cfg, splits=('train', 'val')), args)
    show(result)
    if args.out:
        limits = dict(overhead=LIMIT_OVERHEAD, memory_growth=LIMIT_GROWTH)
        config = Path(args.config).name
        result = dict(environment=describe_environment(), config=config, limits=limits, **result)
        with write_atomically(args.out) as temporary:
            temporary.write_text(json.dumps(result, indent=2) + '\n')
        Console().print(f'Numbers written to {args.out}')


if __name__ == '__main__':
    with report_errors():
        main()
