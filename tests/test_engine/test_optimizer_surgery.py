import copy

import pytest
import torch
from mmengine.optim import OptimWrapper

from mmlayerwise.compression.apply import apply_plan
from mmlayerwise.compression.plan import CompressionPlan, fingerprint
from mmlayerwise.engine.optimizer_surgery import move_optimizer
from tests.test_compression.networks import MixedNet, coded_images


def _stepped(kind, **options):
    torch.manual_seed(0)
    model = MixedNet().train()
    optimizer = kind(
        [
            {'params': [model.stem.weight, model.stem.bias], 'lr': 0.5},
            {'params': [p for n, p in model.named_parameters() if not n.startswith('stem.')]},
        ],
        lr=0.01,
        **options,
    )
    images, labels = coded_images(16)
    for _ in range(2):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(images), labels).backward()
        optimizer.step()
    optimizer.zero_grad()
    return model, optimizer, images, labels


@pytest.mark.parametrize(
    ('kind', 'options', 'buffers'),
    [
        (torch.optim.SGD, {'momentum': 0.9}, ['momentum_buffer']),
        (torch.optim.AdamW, {'amsgrad': True}, ['exp_avg', 'exp_avg_sq', 'max_exp_avg_sq']),
    ],
)
def test_state_of_surviving_channels_is_kept(kind, options, buffers):
    model, optimizer, images, labels = _stepped(kind, **options)
    before = dict(model.named_parameters())
    old = {name: copy.deepcopy(optimizer.state[value]) for name, value in before.items()}
    plan = CompressionPlan(fingerprint(model), channels={'left': [1, 3], 'last': [0, 2, 4]})
    report = apply_plan(model, plan, images[:1])
    move_optimizer(OptimWrapper(optimizer), before, model, report.slices)

    after = dict(model.named_parameters())
    groups = optimizer.param_groups
    assert [id(one) for one in groups[0]['params']] == [
        id(after['stem.weight']), id(after['stem.bias'])
    ]  # fmt: skip
    assert groups[0]['lr'] == 0.5
    assert {id(one) for group in groups for one in group['params']} == set(map(id, after.values()))
    assert {id(one) for one in optimizer.state} == set(map(id, after.values()))
    for key in buffers:
        found = optimizer.state[after['left.weight']][key]
        assert torch.equal(found, old['left.weight'][key][[1, 3]])
        # 'last' reads left's 4 channels, then right's 3.
        found = optimizer.state[after['last.weight']][key]
        assert torch.equal(found, old['last.weight'][key][[0, 2, 4]][:, [1, 3, 4, 5, 6]])
        found = optimizer.state[after['stem.weight']][key]
        assert torch.equal(found, old['stem.weight'][key])
    if 'step' in old['last.weight']:
        assert optimizer.state[after['last.weight']]['step'] == 2

    torch.nn.functional.cross_entropy(model(images), labels).backward()
    weight = after['last.weight'].detach().clone()
    optimizer.step()
    assert not torch.equal(after['last.weight'], weight)


def test_parameters_that_are_not_the_models_stay():
    model, optimizer, images, _ = _stepped(torch.optim.SGD, momentum=0.9)
    own = torch.nn.Parameter(torch.ones(2))
    optimizer.add_param_group({'params': [own]})
    before = dict(model.named_parameters())
    report = apply_plan(model, CompressionPlan(fingerprint(model), channels={'left': [0]}), images)
    move_optimizer(OptimWrapper(optimizer), before, model, report.slices)
    assert optimizer.param_groups[2]['params'][0] is own
