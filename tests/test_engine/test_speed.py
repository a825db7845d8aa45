import pytest
import torch
from mmengine.config import Config

from mmlayerwise.engine.speed import Speed, measure_speed, synthetic_batch
from mmlayerwise.utils.errors import UserError


class Clock(torch.nn.Module):
    """Takes a known time for every image and remembers what it saw."""

    def __init__(self):
        super().__init__()
        self.seen = []
        self.now = 0.0

    def perf_counter(self):
        return self.now

    def test_step(self, batch):
        assert not self.training
        assert not torch.is_grad_enabled()
        self.seen.append(batch)
        self.now += batch


def test_speed_is_that_of_the_timed_images_alone(monkeypatch):
    model = Clock()
    monkeypatch.setattr('mmlayerwise.engine.speed.time', model)
    *_, speed = measure_speed(model, [9.0, 1.0, 2.0, 6.0], num_images=3, num_warmup=1)
    assert model.seen == [9.0, 1.0, 2.0, 6.0]
    assert speed == Speed(
        images_per_second=3 / 9, median_seconds=2.0, slowest_tenth_seconds=6.0, num_images=3
    )


def test_few_images_are_used_again():
    model = Clock()
    speeds = list(measure_speed(model, [0.0, 0.001], num_images=5, num_warmup=2))
    assert len(speeds) == 5
    assert model.seen == [0.0, 0.001] * 3 + [0.0]


def test_no_image_is_refused():
    with pytest.raises(UserError, match='no image to time'):
        list(measure_speed(Clock(), [], num_images=1))


@pytest.mark.parametrize(
    ('scope', 'name'),
    [
        ('mmdet', 'DetDataSample'),
        ('mmseg', 'SegDataSample'),
        ('mmlayerwise', 'ClassificationDataSample'),
    ],
)
def test_a_random_image_comes_with_the_sample_of_its_toolbox(scope, name):
    batch = synthetic_batch(Config(dict(default_scope=scope)), (6, 8))
    (image,), (sample,) = batch['inputs'], batch['data_samples']
    assert image.shape == (3, 6, 8)
    assert image.dtype == torch.uint8
    assert type(sample).__name__ == name
    assert sample.img_shape == (6, 8)
