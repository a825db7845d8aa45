import copy
import json

import pytest
import torch
from torch import nn

from mmlayerwise.forward import ForwardLearningError, QuasiLeastSquares
from mmlayerwise.forward import qls as module
from mmlayerwise.forward.eigen_initialization import gauge
from mmlayerwise.forward.patches import ConvolutionPatches
from tests.test_forward.reference import (
    LAYERS,
    brute_force_triplets,
    layer_and_samples,
    triplet_loss,
)


class Recorder:
    """Keeps every state of a fit, to check it against the layer's own features."""

    def __init__(self, monkeypatch):
        self.states = []
        evaluate = module._Run.evaluate

        def recording(run, filters):
            state = evaluate(run, filters)
            self.states.append(state)
            self.patches = run.patches
            return state

        monkeypatch.setattr(module._Run, 'evaluate', recording)

    def features(self, filters):
        layer = copy.deepcopy(self.patches.layer)
        patches = copy.copy(self.patches)
        patches.layer = layer
        patches.write(filters)
        samples = self.patches.samples
        samples = samples.squeeze(2) if isinstance(layer, nn.Conv1d) else samples
        return layer(samples).relu().detach()


def index_of(layer, samples, labels):
    return brute_force_triplets(layer(samples).relu().detach(), labels)[2]


@pytest.mark.parametrize('step', ['mm', 'ls', 'gradient'])
@pytest.mark.parametrize('name', ['plain', 'no bias', 'groups', 'strided text'])
def test_loss_falls_for_frozen_masks_at_every_accepted_step(name, step, monkeypatch):
    layer, samples, labels = layer_and_samples(name)
    samples += torch.randn_like(samples)  # harder, so that there is something to learn
    recorder = Recorder(monkeypatch)
    result = QuasiLeastSquares(epochs=4, step=step, pooling=1).fit(layer, samples, labels)
    accepted = [epoch for epoch in result.history if epoch.step_size]
    assert accepted
    for number, epoch in enumerate(result.history):
        state = recorder.states[number]
        features = recorder.features(state.filters)
        friends, enemies, index = brute_force_triplets(features, labels)
        assert epoch.separation_index == pytest.approx(index)
        assert state.triplets.friends.tolist() == friends.tolist()
        expected = triplet_loss(features, friends, enemies).item()
        assert epoch.loss == pytest.approx(expected)
        near = (features - features[friends]).flatten(1).norm(dim=1)
        far = (features - features[enemies]).flatten(1).norm(dim=1)
        margin = ((far - near) / (far + near)).mean().item()
        assert epoch.margin == pytest.approx(margin)
        if epoch.step_size:
            before, after = epoch.frozen_loss
            assert after < before == pytest.approx(result.history[number - 1].loss)
            assert epoch.step_size in module.STEP_SIZES


@pytest.mark.parametrize('batch_norm', [False, True])
@pytest.mark.parametrize('name', ['plain', 'groups', 'text'])
def test_the_gauge_stays_exact_and_the_bias_scales_along(name, batch_norm, monkeypatch):
    layer, samples, labels = layer_and_samples(name)
    recorder = Recorder(monkeypatch)
    QuasiLeastSquares(epochs=3).fit(layer, samples, labels, batch_norm=batch_norm)
    assert len(recorder.states) > 1
    for state in recorder.states:
        sizes = gauge(recorder.patches, state.filters)
        torch.testing.assert_close(sizes, torch.ones_like(sizes), rtol=1e-12, atol=0)
    run = module._Run.__new__(module._Run)
    run.patches = recorder.patches
    filters = torch.randn_like(recorder.states[0].filters)
    fixed = run.fix_gauge(7 * filters)
    torch.testing.assert_close(fixed, run.fix_gauge(filters))
    torch.testing.assert_close(torch.cosine_similarity(fixed, filters, dim=2).min().item(), 1.0)


@pytest.mark.parametrize('batch_norm', [False, True])
@pytest.mark.parametrize('name', LAYERS)
def test_the_layer_never_separates_worse_than_its_eigenvectors(name, batch_norm):
    layer, samples, labels = layer_and_samples(name)
    samples += 2 * torch.randn_like(samples)
    start = copy.deepcopy(layer)
    options = dict(pooling=1)
    behind = nn.Identity()
    if batch_norm:
        norm = nn.BatchNorm1d if isinstance(layer, nn.Conv1d) else nn.BatchNorm2d
        behind = norm(layer.out_channels, eps=1e-12, affine=False).double()
    eigen = QuasiLeastSquares(step=None, **options).fit(
        start, samples, labels, batch_norm=batch_norm
    )
    result = QuasiLeastSquares(epochs=4, **options).fit(
        layer, samples, labels, batch_norm=batch_norm
    )
    assert len(eigen.history) == 1
    before = index_of(nn.Sequential(start, behind), samples, labels)
    after = index_of(nn.Sequential(layer, behind), samples, labels)
    assert after >= before
    # The record is that of the layer as it stands in the network.
    assert before == pytest.approx(eigen.history[0].separation_index)
    assert after == pytest.approx(max(one.separation_index for one in result.history))


@pytest.mark.parametrize('batch_norm', [False, True])
def test_outputs_keep_the_root_mean_square_of_the_initial_layer(batch_norm):
    layer, samples, labels = layer_and_samples('plain')
    if batch_norm:
        layer.bias = None
    before = layer(samples)
    QuasiLeastSquares(epochs=2).fit(layer, samples, labels, batch_norm=batch_norm)
    outputs = [before, layer(samples)]
    if batch_norm:
        outputs = [output - output.mean((0, 2, 3), keepdim=True) for output in outputs]
    sizes = [output.relu().square().mean().item() for output in outputs]
    assert sizes[1] == pytest.approx(sizes[0])


def test_a_layer_of_zeros_keeps_unit_filters():
    layer, samples, labels = layer_and_samples('no bias')
    nn.init.zeros_(layer.weight)
    result = QuasiLeastSquares(epochs=1).fit(layer, samples, labels)
    assert result.scale == 1
    assert layer.weight.isfinite().all()
    assert layer.weight.any()


def test_dead_filters_are_replaced_by_the_next_eigenvector(monkeypatch):
    # Without a bias and with positive inputs, the negative of the mean's direction passes nothing.
    layer = nn.Conv2d(3, 4, 3, bias=False)
    torch.manual_seed(0)
    labels = torch.arange(40) % 2
    samples = 5 + torch.rand(40, 3, 1, 1) + 0.1 * torch.rand(40, 3, 6, 6)
    samples += 0.2 * labels.view(-1, 1, 1, 1)
    recorder = Recorder(monkeypatch)
    result = QuasiLeastSquares(epochs=2).fit(layer, samples, labels)
    dead = (recorder.states[0].activity < module.LEAST_ACTIVITY).nonzero().tolist()
    assert dead
    assert result.history[1].replaced == len(dead)
    _, vectors = torch.linalg.eigh(recorder.patches.covariance[0])
    used = 2  # the eigenvectors of the four first filters
    for place, (_, number) in enumerate(dead):
        new = recorder.states[1].filters[0, number]
        wanted = vectors[:, -1 - used - place // 2]
        assert (new @ wanted).abs().item() == pytest.approx(1)


def test_the_same_input_gives_the_same_filters():
    filters = []
    for seed in (0, 1):
        layer, samples, labels = layer_and_samples('plain')
        torch.manual_seed(seed)  # the fit draws from a generator of its own
        state = torch.get_rng_state()
        QuasiLeastSquares(epochs=3).fit(layer, samples, labels)
        assert torch.equal(torch.get_rng_state(), state)
        filters.append(layer.weight.clone())
    assert torch.equal(*filters)


def test_more_filters_than_twice_the_dimension_are_learned():
    layer, samples, labels = layer_and_samples('grey')
    layer = nn.Conv2d(1, 30, 2).double()
    result = QuasiLeastSquares(epochs=2).fit(layer, samples, labels)
    assert result.rank == [4]
    assert layer.weight.flatten(1).unique(dim=0).shape[0] == 30


def test_crops_of_one_image_are_no_neighbours():
    layer, samples, labels = layer_and_samples('plain')
    # Every sample twice: without the rule each copy would be the nearest friend.
    twins = torch.cat([samples, samples])
    sources = torch.arange(len(samples)).repeat(2)
    learner = QuasiLeastSquares(step=None, pooling=1)
    doubled = learner.fit(copy.deepcopy(layer), twins, labels.repeat(2), sources)
    alone = learner.fit(layer, samples, labels)
    assert doubled.history[0].separation_index == alone.history[0].separation_index


def test_lonely_samples_are_left_out():
    layer, samples, labels = layer_and_samples('plain')
    labels[3] = 7
    assert QuasiLeastSquares(epochs=1).fit(layer, samples, labels).num_samples == 23


def test_the_search_pools_the_features():
    layer, samples, labels = layer_and_samples('plain')
    result = QuasiLeastSquares(step=None, pooling=3).fit(layer, samples, labels)
    pooled = nn.functional.avg_pool2d(layer(samples).relu(), 3, ceil_mode=True)
    expected = brute_force_triplets(pooled.detach(), labels)[2]
    assert result.history[0].separation_index == pytest.approx(expected)


def test_every_epoch_is_reported_and_the_result_is_plain():
    layer, samples, labels = layer_and_samples('plain')
    told = []
    result = QuasiLeastSquares(epochs=2).fit(layer, samples, labels, report=told.append)
    assert told == result.history
    data = json.loads(json.dumps(result.to_dict()))
    assert [one['epoch'] for one in data['history']] == [0, 1, 2]
    assert data['num_samples'] == 24


def test_learning_raises_the_margin_until_no_step_does(monkeypatch):
    layer, samples, labels = layer_and_samples('plain')
    monkeypatch.setattr(module._Run, 'distances', lambda *_: (0.0, 0.0))
    result = QuasiLeastSquares(epochs=5).fit(layer, samples, labels)
    assert [one.epoch for one in result.history] == [0]


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(step='newton'), "got 'newton'"),
        (dict(epochs=-1), 'epochs must be a whole number of at least 0, got -1'),
        (dict(pooling=0), 'pooling must be'),
        (dict(max_positions=1.5), 'max_positions must be'),
    ],
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(ForwardLearningError, match=message):
        QuasiLeastSquares(**options)


def test_labels_that_do_not_fit_are_refused():
    layer, samples, labels = layer_and_samples('plain')
    with pytest.raises(ForwardLearningError, match=r'24 samples need one label each, got \(20,\)'):
        QuasiLeastSquares().fit(layer, samples, labels[:20])
    with pytest.raises(ForwardLearningError, match='1 classes'):
        QuasiLeastSquares().fit(layer, samples, torch.zeros_like(labels))


@pytest.mark.gpu
def test_a_gpu_learns_what_the_cpu_learns():
    layer, samples, labels = layer_and_samples('plain')
    twin = copy.deepcopy(layer).cuda()
    options = dict(epochs=3)
    QuasiLeastSquares(**options).fit(layer, samples, labels)
    QuasiLeastSquares(**options).fit(twin, samples.cuda(), labels.cuda())
    torch.testing.assert_close(twin.weight.cpu(), layer.weight, rtol=1e-6, atol=1e-8)


def test_patches_of_the_fit_use_the_positions_asked_for(monkeypatch):
    layer, samples, labels = layer_and_samples('plain')
    seen = []
    start = ConvolutionPatches.__init__

    def recording(self, *args, **kwargs):
        start(self, *args, **kwargs)
        seen.append(self.grid)

    monkeypatch.setattr(ConvolutionPatches, '__init__', recording)
    QuasiLeastSquares(step=None, max_positions=12).fit(layer, samples, labels)
    assert seen == [(4, 3)]
