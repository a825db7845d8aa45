import json

import pytest
from torch import nn

from mmlayerwise.compression import CompressionError, CompressionPlan, Cost, Savings, Step
from mmlayerwise.compression.plan import fingerprint


def small_model(width: int = 4) -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, width, 3), nn.BatchNorm2d(width), nn.ReLU())


@pytest.fixture
def plan() -> CompressionPlan:
    step = Step('channels', '0', 2, 4, '0', 0.5, 0.49, (0.4, 0.6), -0.01, 0.02, note='a "note"')
    return CompressionPlan(
        fingerprint(small_model()),
        cut='0',
        channels={'0': [0, 3]},
        head={'hidden': [64], 'dropout': 0.2, 'pool': None},
        steps=[step],
        savings=Savings(Cost(120, 4e3, 480), Cost(60, None, 240)),
        settings={'seed': 0, 'steps': [], 'channels': {}},
    )


def test_round_trip_through_json_keeps_everything(plan, tmp_path):
    plan.save(tmp_path / 'plan.json')
    assert CompressionPlan.load(tmp_path / 'plan.json') == plan


def test_json_has_one_line_for_each_module_and_step(plan):
    text = plan.to_json()
    assert json.loads(text) == json.loads(json.dumps(plan.to_dict()))
    assert '\n  "0": [0, 3]\n' in text
    assert sum('"kind": "channels"' in line for line in text.splitlines()) == 1


def test_instructions_alone_make_the_same_decisions(plan):
    again = CompressionPlan.from_dict(plan.instructions())
    assert (again.cut, again.channels, again.head) == (plan.cut, plan.channels, plan.head)
    assert again.steps == []


def test_savings_tell_shares_and_what_was_not_counted(plan):
    assert plan.savings.kept('parameters') == 0.5
    assert plan.savings.kept('bytes') == 0.5
    assert plan.savings.kept('flops') is None


def test_fingerprint_depends_on_structure_and_not_on_weights():
    assert fingerprint(small_model()) == fingerprint(small_model())
    assert fingerprint(small_model()) == fingerprint(small_model().state_dict())
    assert fingerprint(small_model()) != fingerprint(small_model(5))


def test_plan_of_another_model_is_refused(plan):
    plan.check_model(small_model())
    with pytest.raises(CompressionError, match='made for another model'):
        plan.check_model(small_model(5))


@pytest.mark.parametrize('kept', [[], [1, 1], [2, 1], [-1, 2]])
def test_channels_must_be_ascending(plan, kept):
    data = {**plan.instructions(), 'channels': {'0': kept}}
    with pytest.raises(CompressionError, match="channels of '0'"):
        CompressionPlan.from_dict(data)


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('{', 'no readable JSON'),
        ('[]', 'no compression plan'),
        ('{"channels": {}}', 'no compression plan'),
        ('{"format": "other"}', 'is other version 1; expected'),
        ('{"version": 9}', 'version 9; expected'),
    ],
)
def test_load_says_what_is_wrong_with_a_file(tmp_path, text, message):
    (tmp_path / 'plan.json').write_text(text)
    with pytest.raises(CompressionError, match=message):
        CompressionPlan.load(tmp_path / 'plan.json')


def test_load_names_a_missing_file(tmp_path):
    with pytest.raises(CompressionError, match=r'none\.json'):
        CompressionPlan.load(tmp_path / 'none.json')
