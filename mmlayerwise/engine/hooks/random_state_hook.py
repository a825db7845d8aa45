"""Randomness as a function of seed and iteration, so that a resumed run repeats the original."""

import logging
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.runner import Runner
from torch.utils.data import DataLoader, IterableDataset

from mmlayerwise.registry import HOOKS

# Keeps the numbers drawn for augmentation apart from those drawn by the model.
_DATA, _MODEL = 0, 1


@HOOKS.register_module()
class RandomStateHook(Hook):
    """Make an interrupted and resumed training equal to an uninterrupted one.

    mmengine restores weights, optimizer, schedulers and the order of the data, but no random state:
    after a resume, augmentation, dropout and random samplers draw other numbers. This hook stores
    nothing. It sets the generators of Python, numpy and torch

    - before each training iteration from (seed, rank, iteration), for what the model draws;
    - before each training sample from (seed, rank, iteration, position in the batch), for what the
      transforms draw, and back afterwards; thus augmentation depends neither on the number of
      workers nor on whether they were restarted.

    The seed has to be fixed in the config, ``randomness = dict(seed=0)``, or else the order of the
    data differs. With it the loss curve is the same to the last bit where the operators are
    deterministic, as they are on the CPU.
    """

    # After the hooks that prepare the loop, before anything that draws numbers.
    priority = 'VERY_HIGH'

    def before_train(self, runner: Runner) -> None:
        """Let the training data loader number its batches and seed its samples.

        Args:
            runner: The runner, with its train loop built and its checkpoint loaded.
        """
        loader = self._loader = runner.train_dataloader
        if isinstance(loader.dataset, IterableDataset):
            print_log(
                'RandomStateHook: an iterable data set has no sample numbers, so its augmentation '
                'is not repeated after a resume.',
                logger='current',
                level=logging.WARNING,
            )
            self._batches = None
            return
        self._batches = _number_batches(loader)
        # Not loader.dataset = ...: DataLoader forbids it after construction.
        if not isinstance(loader.dataset, SeededSamples):
            seed = (runner.seed, get_rank())
            loader.__dict__['dataset'] = SeededSamples(loader.dataset, seed)
        # Workers that started before hold the original data set.
        loader._iterator = None

    def before_train_epoch(self, runner: Runner) -> None:
        """Tell the data loader the number of its next batch.

        Args:
            runner: The runner; its iteration is that of the first batch to come.
        """
        if runner.train_dataloader is not self._loader:  # the loop went on to another one
            self.before_train(runner)
        if self._batches is None:
            return
        iterator = getattr(runner.train_loop, 'dataloader_iterator', None)
        if iterator is None:
            self._batches.next_number = runner.iter
            return
        # An iteration-based loop skips what it has trained on: in the sampler, so that the first
        # batch drawn is number `runner.iter`, or else by drawing from batch 0 on.
        self._batches.next_number = runner.iter if _skips_in_sampler(iterator) else 0
        # The loop of mmengine 0.10.7 began to draw when it was built: start over.
        loader = runner.train_dataloader
        for sampler in (loader.sampler, getattr(loader.batch_sampler, 'sampler', None)):
            if hasattr(sampler, '_indices_of_rank'):
                sampler.indices = sampler._indices_of_rank()
        runner.train_loop.dataloader_iterator = type(iterator)(loader)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Seed what the model draws in this iteration.

        Args:
            runner: The runner.
            batch_idx: Index of the batch in the train loop; not used.
            data_batch: The batch; not used.
        """
        seed_generators(runner.seed, get_rank(), runner.iter, _MODEL)


class BatchNumbers:
    """A batch sampler, or a sampler of single samples, whose indices know when they were drawn.

    Args:
        sampler: What the data loader iterates over: indices or lists of indices.
    """

    def __init__(self, sampler: Any) -> None:
        self._source = sampler
        self.next_number = 0

    def __iter__(self) -> Iterator:
        for drawn in self._source:
            number = self.next_number
            self.next_number += 1
            if isinstance(drawn, list | tuple):
                yield [DrawnIndex(index, number, i) for i, index in enumerate(drawn)]
            else:
                yield DrawnIndex(drawn, number, 0)

    def __len__(self) -> int:
        return len(self._source)

    def __getattr__(self, name: str) -> Any:
        if name == '_source':  # not yet there while unpickling
            raise AttributeError(name)
        return getattr(self._source, name)


class DrawnIndex(int):
    """Index of a sample that remembers the batch and the position it was drawn for."""

    def __new__(cls, index: int, batch: int, position: int) -> 'DrawnIndex':
        """Make an index that is equal to the plain integer."""
        drawn = super().__new__(cls, index)
        drawn.batch, drawn.position = batch, position
        return drawn

    def __reduce__(self) -> tuple:
        return DrawnIndex, (int(self), self.batch, self.position)


class SeededSamples:
    """A data set that sets the random state before it makes a sample and restores it afterwards.

    Args:
        dataset: Any map-style data set.
        seed: Numbers that distinguish this run and rank.
    """

    def __init__(self, dataset: Any, seed: tuple[int, ...]) -> None:
        self.__dict__.update(_samples=dataset, _seed=seed)

    def __getitem__(self, index: int) -> Any:
        if not isinstance(index, DrawnIndex):
            return self._samples[index]
        with preserve_random_state():
            seed_generators(
                *self._seed, index.batch, _DATA, index.position, torch_seed=_seed_torch_cpu
            )
            return self._samples[int(index)]

    def __len__(self) -> int:
        return len(self._samples)

    def __getattr__(self, name: str) -> Any:
        # `__getitems__`, with which torch would fetch a batch past the seeding, stays hidden too.
        if name == '_samples' or name.startswith('__'):
            raise AttributeError(name)
        return getattr(self._samples, name)

    def __setattr__(self, name: str, value: Any) -> None:
        # Hooks that switch the pipeline during training mean the data set itself.
        setattr(self._samples, name, value)


def seed_generators(*numbers: int, torch_seed: Callable[[int], Any] = torch.manual_seed) -> None:
    """Seed the generators of Python, numpy and torch from a sequence of non-negative integers.

    Args:
        numbers: Any numbers; sequences that differ give unrelated states.
        torch_seed: Seeds torch, on all devices by default.
    """
    words = np.random.SeedSequence(numbers).generate_state(3, np.uint64).tolist()
    random.seed(words[0])
    np.random.seed(words[1] % 2**32)
    torch_seed(words[2])


def _seed_torch_cpu(seed: int) -> None:
    """Seed torch where a device must not be touched: in a worker process, or for a transform."""
    torch.default_generator.manual_seed(seed)


@contextmanager
def preserve_random_state() -> Iterator[None]:
    """Give the generators of Python, numpy and the CPU back as they were."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])


def _number_batches(loader: DataLoader) -> BatchNumbers:
    """Put :class:`BatchNumbers` around what the loader iterates over and return it."""
    name = 'sampler' if loader.batch_sampler is None else 'batch_sampler'
    sampler = getattr(loader, name)
    if not isinstance(sampler, BatchNumbers):
        sampler = loader.__dict__[name] = BatchNumbers(sampler)
    return sampler


def _skips_in_sampler(iterator: Any) -> bool:
    """Return whether the iterator of a train loop can advance its sampler without loading data."""
    if not hasattr(iterator, 'skip_iter'):
        return False
    return bool(iterator._resolve_batch_size()) and iterator._resolve_sampler() is not None
