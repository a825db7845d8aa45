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


def test_state_follows_parameters_that_a_cut_renamed_or_made_anew():
    model = torch.nn.Module()
    model.steps = torch.nn.ModuleList(torch.nn.Linear(2, 2, bias=False) for _ in range(3))
    model.score = torch.nn.Linear(2, 2, bias=False)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for number, weight in enumerate(model.parameters()):
        weight.grad = torch.full_like(weight, number + 1.0)
    optimizer.step()
    before = dict(model.named_parameters())
    model.steps = model.steps[1:]
    model.score = torch.nn.Linear(3, 2, bias=False)
    survivors = {'steps.1.weight': 'steps.0.weight', 'steps.2.weight': 'steps.1.weight'}
    move_optimizer(OptimWrapper(optimizer), before, model, {}, survivors)

    after = dict(model.named_parameters())
    assert set(map(id, optimizer.param_groups[0]['params'])) == set(map(id, after.values()))
    assert optimizer.state[after['steps.0.weight']]['momentum_buffer'].unique().tolist() == [2.0]
    assert optimizer.state[after['steps.1.weight']]['momentum_buffer'].unique().tolist() == [3.0]
    assert after['score.weight'] not in optimizer.state
    assert before['steps.0.weight'] not in optimizer.state
