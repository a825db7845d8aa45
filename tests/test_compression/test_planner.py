import pytest
import torch
from torch import nn

from mmlayerwise.compression import CompressionError
from mmlayerwise.compression.channel_groups import find_groups
from mmlayerwise.compression.dependency.graph import ChannelGraph
from mmlayerwise.compression.planner import CompressionPlanner
from mmlayerwise.compression.reading import LayerReader
from mmlayerwise.compression.settings import PlannerSettings
from mmlayerwise.compression.watching import IndexWatch, Watched
from mmlayerwise.separation.batches import as_batches
from tests.test_compression.networks import CodedNet, coded_images


def _reader(**options) -> LayerReader:
    images, labels = coded_images()
    pairs = zip(images.split(32), labels.split(32), strict=True)
    return LayerReader(list(as_batches(pairs)), lambda model, inputs: model(inputs), **options)


def _plan(model: nn.Module, **settings):
    planner = CompressionPlanner(_reader(), PlannerSettings(**settings), example=coded_images(1)[0])
    return planner.plan(model)


@pytest.fixture(scope='module')
def whole():
    return _plan(CodedNet(), cut='none')


def test_blocks_tell_where_the_noise_ends(whole):
    names = [block.name for block in whole.blocks]
    assert names == ['first.0', 'second.0', 'third.0']
    first, second, third = (block.index for block in whole.blocks)
    assert first < 0.7
    assert second == third == 1


def test_one_telling_map_of_the_last_layer_stays(whole):
    (kept,) = whole.plan.channels['third.0']
    assert kept < 4


def test_earlier_layers_keep_what_it_reads(whole):
    (kept,) = whole.plan.channels['third.0']
    # Map k reads map k only.
    assert whole.plan.channels['second.0'] == [kept]
    assert whole.plan.channels['first.0'] == [kept]


def test_steps_give_index_before_and_after(whole):
    assert [step.module for step in whole.plan.steps] == ['third.0', 'second.0', 'first.0']
    for step in whole.plan.steps:
        assert (step.kept, step.total) == (1, 8)
        assert step.before == step.after == 1
        assert step.interval[0] > 0.9
        assert not step.significant


def test_savings_are_counted(whole):
    before, after = whole.plan.savings.before, whole.plan.savings.after
    assert before.parameters == (8 * 2 + 8) + 2 * (8 * 8 + 8) + 128 * 4 + 4
    assert after.parameters == (2 + 1) + 2 * (1 + 1) + 16 * 4 + 4
    assert after.flops == 16 * (2 + 1 + 1) + 16 * 4


def test_model_is_left_as_it_was():
    model = CodedNet()
    expected = {name: value.clone() for name, value in model.state_dict().items()}
    images = coded_images(4)[0]
    output = model(images)
    _plan(model, cut='none')
    assert all(torch.equal(value, expected[name]) for name, value in model.state_dict().items())
    assert torch.equal(model(images), output)
    assert model.training


def test_planning_ends_when_the_budget_is_met():
    model = CodedNet()
    plan = _plan(model, cut='none', budget=0.8).plan
    assert 0.6 < plan.savings.kept('flops') <= 0.8
    plan = _plan(model, cut='none', budget=0.5, budget_of='parameters').plan
    assert 0.3 < plan.savings.kept('parameters') <= 0.5


def test_budget_that_cannot_be_met_shows_the_best_plan():
    with pytest.raises(CompressionError) as caught:
        _plan(CodedNet(), cut='none', budget=0.02)
    message = str(caught.value)
    assert 'The budget cannot be met: 2.0% of the flops' in message
    assert 'third.0: 1 of 8 channels stay' in message
    assert 'Give a budget of 0.0' in message


def test_index_at_chance_has_nothing_to_cut():
    class Forgetful(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(2, 4, 1)

        def forward(self, images):
            return self.conv(images * torch.tensor([0.0, 1.0])[:, None, None])

    with pytest.raises(CompressionError, match='nothing to cut: the index is at chance level'):
        _plan(Forgetful())


@pytest.mark.parametrize('criterion', ['magnitude', 'random'])
def test_other_criteria_need_no_index_above_chance(criterion):
    model = CodedNet()
    nn.init.zeros_(model.first[0].weight)
    plan = _plan(model, criterion=criterion, budget=0.5).plan
    assert plan.savings.kept('flops') <= 0.5


@pytest.mark.parametrize('criterion', ['magnitude', 'random'])
def test_other_criteria_thin_all_layers_alike(criterion):
    plan = _plan(CodedNet(), criterion=criterion, budget=0.5).plan
    assert plan.cut is None
    widths = {name: len(kept) for name, kept in plan.channels.items()}
    assert set(widths) == {'first.0', 'second.0', 'third.0'}
    assert len(set(widths.values())) == 1
    assert plan.savings.kept('flops') <= 0.5


def test_unknown_block_lists_the_blocks():
    with pytest.raises(CompressionError, match=r"no block 'fourth'.*first\.0, second\.0"):
        _plan(CodedNet(), cut='fourth')


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'criterion': 'taylor'}, 'must be one of si, magnitude, random'),
        ({'budget': 0.0}, 'between 0 and 1; got 0.0'),
        ({'budget': 1.5}, 'between 0 and 1; got 1.5'),
        ({'budget': 0.5, 'budget_of': 'seconds'}, "flops or parameters; got 'seconds'"),
        ({'criterion': 'random'}, 'give a budget'),
        ({'max_drop': -1.0}, 'max_drop is a difference of indices'),
    ],
)
def test_settings_that_make_no_sense_are_refused(options, message):
    with pytest.raises(CompressionError, match=message):
        PlannerSettings(**options)


def test_reader_needs_data_of_two_classes():
    with pytest.raises(CompressionError, match='no batch came'):
        LayerReader([], lambda model, inputs: model(inputs))
    batches = list(as_batches([(torch.zeros(3, 2, 4, 4), torch.zeros(3, dtype=torch.long))]))
    with pytest.raises(CompressionError, match='needs two classes'):
        LayerReader(batches, lambda model, inputs: model(inputs))


def test_reader_takes_balanced_samples_and_reads_them_again():
    reader = _reader(max_samples=20)
    model = CodedNet()
    layer = reader.trace(model).outputs('second.0')[0]
    first, second = reader.read_one(model, layer), reader.read_one(model, layer)
    assert first.features.shape == (20, 8, 16)
    assert first.labels.bincount().tolist() == [5, 5, 5, 5]
    assert torch.equal(first.features, second.features)
    assert torch.equal(first.ids, reader.kept)


def test_the_same_removal_is_measured_once():
    model, reader = CodedNet(), _reader()
    layer = reader.trace(model).outputs('third.0')[0]
    graph = ChannelGraph(model, coded_images(1)[0])
    groups, _ = find_groups(model, graph, dict.fromkeys(('first.0', 'second.0'), 0))
    watch = IndexWatch(model, reader, [Watched(layer, None)], groups)
    found = watch.measure({'first.0': [1, 0]})
    assert watch.measure({'first.0': [0, 1], 'second.0': []}) is found
    assert watch.measurements == 1
    assert watch.measure({}).index == 1
    assert watch.measurements == 2
