"""Time an epoch of layer-wise learning of VGG-16 against the number of layers learned forward.

For each layer k: an epoch of learning it forward (the pass ends behind it, the loss trains layers 1
to k), and an epoch of backpropagation with layers 1 to k frozen. The steps are those of
LayerwiseTrainLoop on random images of CIFAR-10's size; loading data and measuring the separation
index are not timed. An epoch is 50,000 images.
"""

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from rich.console import Console
from rich.progress import Progress
from torch import nn

from mmlayerwise.engine.separation import InferenceForward
from mmlayerwise.forward.layer_learner import LayerLearner
from mmlayerwise.forward.layer_order import ForwardLayer, find_layers
from mmlayerwise.forward.mining import NearestTripletMiner
from mmlayerwise.models.losses import HingeTripletLoss
from mmlayerwise.registry import MODELS
from mmlayerwise.separation import Batch, GroundTruth, ImageSamples
from mmlayerwise.structures import ClassificationDataSample
from mmlayerwise.utils.environment import describe_environment
from mmlayerwise.utils.errors import UserError, report_errors
from mmlayerwise.utils.files import write_atomically

SEED = 0
IMAGES_AN_EPOCH = 50_000
NUM_CLASSES = 10
MODEL = Path(__file__).parents[2] / 'configs' / '_base_' / 'models' / 'vgg16_cifar.py'
# Fully connected layers of the head are left to backpropagation, as in the lectures' table.
BACKBONE = 'backbone.'
ADAM = dict(type='OptimWrapper', optimizer=dict(type='Adam', lr=1e-3))
SGD = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.05, momentum=0.9))


class Bench:
    """The network, a batch, and the two kinds of steps.

    Args:
        batch_size: Images a step.
        repeats: Steps of which the median is taken, behind one to warm up.
    """

    def __init__(self, batch_size: int, repeats: int) -> None:
        torch.manual_seed(SEED)
        self.repeats = repeats
        self.model = MODELS.build(dict(Config.fromfile(MODEL).model))
        self.inputs = torch.randn(batch_size, 3, 32, 32)
        self.labels = torch.arange(batch_size) % NUM_CLASSES
        self.forward = InferenceForward()
        data = dict(inputs=self.inputs[:2])
        self.layers = [
            layer
            for layer in find_layers(self.model, lambda: self.forward(self.model, data))
            if layer.name.startswith(BACKBONE)
        ]

    def forward_step(self, layer: ForwardLayer) -> Callable[[], None]:
        """A step of learning a layer, as the loop makes it."""
        self._train(layer.parameters)
        miner, loss = NearestTripletMiner(), HingeTripletLoss()
        learner = LayerLearner(self.model, layer, ImageSamples(), miner, loss, self.forward)
        wrapper = build_optim_wrapper(self.model, dict(ADAM))
        labels = self.labels.tolist()
        truths = [GroundTruth(n, (32, 32), label=label) for n, label in enumerate(labels)]
        batch = Batch(dict(inputs=self.inputs), truths, (32, 32))
        return lambda: wrapper.update_params(learner(batch, 0)[0])

    def backward_step(self, frozen: list[ForwardLayer]) -> Callable[[], None]:
        """A step of backpropagation of what is not frozen."""
        names = {name for layer in frozen for name in layer.parameters}
        self._train({name for name, _ in self.model.named_parameters()} - names)
        for layer in frozen:
            for name in layer.own_modules:
                self.model.get_submodule(name).training = False
        wrapper = build_optim_wrapper(self.model, dict(SGD))
        samples = [ClassificationDataSample().set_gt_label(label) for label in self.labels]

        def step() -> None:
            losses = self.model(self.inputs, samples, mode='loss')
            wrapper.update_params(self.model.parse_losses(losses)[0])

        return step

    def seconds_an_epoch(self, step: Callable[[], None]) -> float:
        """Median time of a step, for an epoch's number of images."""
        step()
        times = []
        for _ in range(self.repeats):
            start = time.perf_counter()
            step()
            times.append(time.perf_counter() - start)
        return statistics.median(times) * IMAGES_AN_EPOCH / len(self.inputs)

    def _train(self, names: set[str] | frozenset[str]) -> None:
        self.model.train()
        for name, parameter in self.model.named_parameters():
            parameter.requires_grad_(name in names)
            parameter.grad = None


def modules_run(model: nn.Module, step: Callable[[], None]) -> int:
    """How many convolutions and linear layers a step runs."""
    runs: list[nn.Module] = []
    handles = [
        module.register_forward_hook(lambda module, *_: runs.append(module))
        for module in model.modules()
        if isinstance(module, nn.Conv2d | nn.Linear)
    ]
    step()
    for handle in handles:
        handle.remove()
    return len(runs)


def measure(arguments: argparse.Namespace, console: Console) -> list[dict[str, object]]:
    """Run the benchmark."""
    torch.set_num_threads(arguments.threads)
    bench = Bench(arguments.batch_size, arguments.repeats)
    rows = []
    with Progress(console=console, transient=True) as progress:
        numbers = range(len(bench.layers) + 1)
        for number in progress.track(numbers, description='Layers learned forward'):
            row = dict(num_forward_layers=number, layer=None, forward_seconds=None)
            if number:
                layer = bench.layers[number - 1]
                step = bench.forward_step(layer)
                row.update(
                    layer=layer.name,
                    layers_run=modules_run(bench.model, step),
                    forward_seconds=bench.seconds_an_epoch(step),
                )
            step = bench.backward_step(bench.layers[:number])
            row['backpropagation_seconds'] = bench.seconds_an_epoch(step)
            rows.append(row)
    return rows


def table(rows: list[dict[str, object]]) -> str:
    """The rows as text; times beside plain backpropagation's."""
    plain = rows[0]['backpropagation_seconds']
    lines = ['layers   forward epoch   backpropagation epoch, these frozen   seconds']
    for row in rows:
        forward = row['forward_seconds']
        told = '' if forward is None else f'{forward / plain:.2f}'
        share = row['backpropagation_seconds'] / plain
        lines.append(
            f'{row["num_forward_layers"]:6}   {told:>13}   {share:>35.2f}   '
            f'{row["backpropagation_seconds"]:7.0f}'
        )
    return '\n'.join(lines)


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--out', type=Path, metavar='FILE', help='also write the numbers as JSON')
    parser.add_argument(
        '--batch-size', type=int, default=100, help='images a step (default: %(default)s)'
    )
    parser.add_argument(
        '--repeats', type=int, default=3, help='steps to take the median of (default: %(default)s)'
    )
    parser.add_argument(
        '--threads', type=int, default=2, help='CPU threads of torch (default: %(default)s)'
    )
    return parser.parse_args()


def main() -> None:
    """Measure, print, and write the result."""
    arguments = parse_arguments()
    if arguments.batch_size < 2 * NUM_CLASSES:
        raise UserError(
            f'--batch-size must be at least {2 * NUM_CLASSES}, two images a class, got '
            f'{arguments.batch_size}'
        )
    if arguments.repeats < 1:
        raise UserError(f'--repeats must be at least 1, got {arguments.repeats}')
    rows = measure(arguments, Console(stderr=True))
    print(table(rows))
    if arguments.out:
        environment = {**describe_environment(), 'seed': SEED, 'load_average': os.getloadavg()[0]}
        report = {
            'environment': environment,
            'settings': dict(
                batch_size=arguments.batch_size,
                repeats=arguments.repeats,
                threads=arguments.threads,
                images_an_epoch=IMAGES_AN_EPOCH,
            ),
            'results': rows,
        }
        with write_atomically(arguments.out) as temporary:
            temporary.write_text(json.dumps(report, indent=2) + '\n')
        print(f'numbers: {arguments.out}')


if __name__ == '__main__':
    with report_errors():
        main()
