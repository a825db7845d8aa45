"""One harness for every config of the zoo that works; a new one needs no new test.

What is particular to a config, such as a delta that makes it small, stands in
``tests/zoo/reductions.py``.
"""

import copy
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmengine.logging import MMLogger
from mmengine.registry import DefaultScope
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmlayerwise.engine.separation import InferenceForward, MeasuringData
from mmlayerwise.separation import measure_separation
from mmlayerwise.utils.meta_device import meta_device
from mmlayerwise.zoo import ZooModel, ZooSystem, load_zoo
from tests.zoo.batches import make_items
from tests.zoo.configs import build, load_config, reduce, scope_of, without_pretraining
from tests.zoo.predictions import check_predictions, predicted_tensors
from tests.zoo.reductions import REDUCTIONS, Reduction, reduction_for
from tests.zoo.training import seed_everything, train

BATCH_SIZE = 2
# The separation index looks at more images than one batch.
NUM_IMAGES = 6
# One config a system is enough to see that another version of the toolboxes works, too.
PER_SYSTEM = 1 if os.environ.get('MMLAYERWISE_ZOO') == 'first' else None
ROWS = [(system, model) for system in load_zoo() for model in system.models[:PER_SYSTEM]]


@dataclass
class Trained:
    """A small form of a row after a few steps, shared by the tests of the row."""

    task: str
    scope: str
    config: dict
    reduction: Reduction
    items: list[dict]
    model: nn.Module
    losses: list[float]
    reached: set[str]

    @property
    def batch(self) -> dict:
        """What the model is trained and tested on."""
        return pseudo_collate(copy.deepcopy(self.items[:BATCH_SIZE]))

    def build(self, seed: int) -> nn.Module:
        """Another model of the same config, randomly initialised."""
        seed_everything(seed)
        model = build(copy.deepcopy(self.config), self.scope)
        model.init_weights()
        for module in model.modules():
            if isinstance(module, _BatchNorm):
                # Average over the few steps instead of hardly leaving the initial statistics.
                module.momentum = None
        return model

    def predict(self, model: nn.Module) -> list:
        """Predict on the batch that was trained on."""
        model.eval()
        seed_everything()
        with torch.no_grad():
            return model.test_step(self.batch)


@pytest.fixture(
    scope='module',
    params=[
        # One worker takes all tests of a row, so that it is trained once.
        pytest.param(
            row, id=f'{row[0].id}-{row[1].name}', marks=pytest.mark.xdist_group(row[1].name)
        )
        for row in ROWS
    ],
)
def row(request: pytest.FixtureRequest) -> tuple[ZooSystem, ZooModel]:
    return request.param


@pytest.fixture(scope='module')
def trained(row: tuple[ZooSystem, ZooModel]) -> Iterator[Trained]:
    system, model = row
    config, reduction = load_config(model), reduction_for(model.name, system.task)
    state = Trained(
        task=system.task,
        scope=scope_of(config),
        config=reduce(config, system.task, reduction),
        reduction=reduction,
        items=make_items(system.task, reduction.image_size, NUM_IMAGES),
        model=nn.Identity(),
        losses=[],
        reached=set(),
    )
    # mmengine reports how every single parameter was initialised.
    MMLogger.get_current_instance().setLevel('ERROR')
    with DefaultScope.overwrite_default_scope(state.scope):
        state.model = state.build(seed=0)
        state.losses, state.reached = train(state.model, state.batch, reduction.learning_rate)
        yield state


def test_full_size_parameter_count(row: tuple[ZooSystem, ZooModel]) -> None:
    _, model = row
    config = load_config(model)
    with meta_device():
        full_size = build(without_pretraining(config), scope_of(config))
    assert sum(p.numel() for p in full_size.parameters()) == model.parameters


def test_trains_on_a_repeated_batch(trained: Trained) -> None:
    assert torch.tensor(trained.losses).isfinite().all()
    assert trained.losses[-1] < trained.losses[0]


def test_every_parameter_receives_a_gradient(trained: Trained) -> None:
    trainable = {name for name, p in trained.model.named_parameters() if p.requires_grad}
    assert trainable
    excluded = {
        name
        for name in trainable
        if any(re.fullmatch(pattern, name) for pattern in trained.reduction.untrained)
    }
    assert trainable - trained.reached == excluded


def test_predictions_are_valid(trained: Trained) -> None:
    predictions = trained.predict(trained.model)
    assert len(predictions) == BATCH_SIZE
    reduction = trained.reduction
    check_predictions(
        trained.task, predictions, reduction.image_size, reduction.boxes_leave_the_image
    )


def test_state_dict_restores_the_predictions(trained: Trained) -> None:
    fresh = trained.build(seed=1)
    fresh.load_state_dict(trained.model.state_dict())
    expected = predicted_tensors(trained.task, trained.predict(trained.model))
    actual = predicted_tensors(trained.task, trained.predict(fresh))
    assert all(torch.equal(a, b) for a, b in zip(actual, expected, strict=True))


@pytest.mark.parametrize('layers', ['stages', 'auto'])
def test_every_layer_has_a_separation_index(trained: Trained, layers: str) -> None:
    before = predicted_tensors(trained.task, trained.predict(trained.model))
    data = MeasuringData(trained.items, BATCH_SIZE, pseudo_collate)
    data.images = list(range(NUM_IMAGES))
    forward = InferenceForward()
    forward.settle(trained.model, data.first(trained.model).inputs)
    profile = measure_separation(
        trained.model, data.batches(trained.model), layers, forward=forward
    )
    assert len(profile.layers) >= 3
    assert all(0 <= layer.index <= 1 and layer.num_samples > 1 for layer in profile.layers)
    after = predicted_tensors(trained.task, trained.predict(trained.model))
    assert all(torch.equal(a, b) for a, b in zip(after, before, strict=True))


def test_every_reduction_belongs_to_a_row() -> None:
    names = {model.name for system in load_zoo() for model in system.models}
    assert names >= REDUCTIONS.keys()
