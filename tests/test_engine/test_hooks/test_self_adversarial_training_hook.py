from types import SimpleNamespace

import pytest
import torch

pytest.importorskip('mmdet')

from mmdet.structures import DetDataSample
from mmengine.registry import MODELS, init_default_scope
from mmengine.structures import InstanceData

from mmlayerwise.engine.hooks import SelfAdversarialTrainingHook
from mmlayerwise.utils.errors import UserError


@pytest.fixture
def detector():
    init_default_scope('mmdet')
    torch.manual_seed(0)
    return MODELS.build(
        dict(
            type='SingleStageDetector',
            data_preprocessor=dict(
                type='DetDataPreprocessor', mean=[10.0, 20.0, 30.0], std=[50.0, 100.0, 200.0]
            ),
            backbone=dict(type='mmlayerwise.Darknet19', widen_factor=0.0625, out_indices=(5,)),
            bbox_head=dict(
                type='mmlayerwise.YOLOv2Head', num_classes=3, in_channels=64, feat_channels=16
            ),
        )
    ).train()


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(0)
    samples = []
    for _ in range(2):
        sample = DetDataSample(metainfo=dict(img_shape=(64, 64)))
        sample.gt_instances = InstanceData(
            bboxes=torch.tensor([[8.0, 8.0, 40.0, 48.0]]), labels=torch.tensor([1])
        )
        samples.append(sample)
    images = 255 * torch.rand(2, 3, 64, 64, generator=generator)
    mean, std = (torch.tensor(v)[:, None, None] for v in ([10.0, 20, 30], [50.0, 100, 200]))
    return (images - mean) / std, samples


def run_of(model, iteration=0):
    return SimpleNamespace(model=model, iter=iteration)


def objectness(model, images):
    """Mean objectness with the statistics of the batch, as in training."""
    (maps,) = model.bbox_head(model.extract_feat(images))
    return float(model.bbox_head._flatten(maps[0])[1][..., 4].sigmoid().mean())


def test_every_value_moves_by_epsilon_and_stays_in_the_range_of_images(detector, batch):
    inputs, samples = batch
    changed = SelfAdversarialTrainingHook(epsilon=5).hide_objects(detector, inputs, samples)
    std = torch.tensor([50.0, 100, 200])[:, None, None]
    mean = torch.tensor([10.0, 20, 30])[:, None, None]
    moved = ((changed - inputs) * std).abs()
    assert moved.max() == pytest.approx(5, abs=1e-3)
    assert (moved > 4.99).double().mean() > 0.9
    pixels = changed * std + mean
    assert pixels.min() > -1e-3
    assert pixels.max() < 255 + 1e-3
    assert not changed.requires_grad


def test_the_detector_sees_fewer_objects_in_the_changed_images(detector, batch):
    inputs, samples = batch
    detector.bbox_head.images_seen += 10**6  # no more drawing of boxes to the anchors
    changed = SelfAdversarialTrainingHook(epsilon=0.2).hide_objects(detector, inputs, samples)
    assert objectness(detector, changed) < objectness(detector, inputs) - 1e-4
    # Noise of the same size does not do that.
    noise = inputs + (changed - inputs).flip(-1)
    assert objectness(detector, changed) < objectness(detector, noise)


def test_the_attack_leaves_the_model_as_it_was(detector, batch):
    before = {name: value.clone() for name, value in detector.state_dict().items()}
    SelfAdversarialTrainingHook().hide_objects(detector, *batch)
    after = detector.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert all(parameter.grad is None for parameter in detector.parameters())
    assert len(batch[1][0].gt_instances) == 1


def test_the_loss_is_that_of_the_changed_images_with_the_true_boxes(detector, batch):
    inputs, samples = batch
    hook = SelfAdversarialTrainingHook(prob=1, begin=0)
    changed = hook.hide_objects(detector, inputs, samples)
    expected = detector.loss(changed, samples)
    plain = detector.loss(inputs, samples)
    hook.before_train(run_of(detector))
    found = detector(inputs, samples, mode='loss')
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value)
    assert float(found['loss_cls']) != pytest.approx(float(plain['loss_cls']), rel=1e-3)
    hook.after_train(run_of(detector))
    torch.testing.assert_close(detector(inputs, samples, mode='loss'), plain)


def test_iterations_are_chosen_by_seed_and_number():
    hook = SelfAdversarialTrainingHook(prob=0.25, begin=100, seed=3)
    chosen = [iteration for iteration in range(2100) if hook.attacks(iteration)]
    assert min(chosen) >= 100
    assert len(chosen) == pytest.approx(500, abs=60)
    again = SelfAdversarialTrainingHook(prob=0.25, begin=100, seed=3)
    assert [iteration for iteration in range(2100) if again.attacks(iteration)] == chosen


def test_nothing_changes_before_its_beginning(detector, batch):
    plain = detector.loss(*batch)
    hook = SelfAdversarialTrainingHook(prob=1, begin=7)
    hook.before_train(run_of(detector, iteration=6))
    torch.testing.assert_close(detector.loss(*batch), plain)


def test_a_model_without_a_loss_is_refused():
    with pytest.raises(UserError, match='needs a detector of mmdet, but the model is Linear'):
        SelfAdversarialTrainingHook().before_train(run_of(torch.nn.Linear(1, 1)))


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [(dict(prob=2), r'prob must be in \[0, 1\]'), (dict(epsilon=0), 'epsilon must be positive')],
)
def test_wrong_arguments_are_refused(arguments, message):
    with pytest.raises(UserError, match=message):
        SelfAdversarialTrainingHook(**arguments)
