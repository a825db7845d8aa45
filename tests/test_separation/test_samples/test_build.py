import numpy as np
import pytest
import torch

from mmlayerwise.separation import (
    BoxSamples,
    GroundTruth,
    ImageSamples,
    InstanceSamples,
    PixelSamples,
    SeparationError,
    TextSamples,
    TokenSamples,
)
from mmlayerwise.separation.samples import build_sampler
from tests.test_separation.test_samples.test_boxes import box_truth


def test_auto_follows_the_ground_truth():
    label_map = torch.zeros(4, 4)
    for truth, sampler in (
        (GroundTruth(0, label=3), ImageSamples),
        (box_truth(), BoxSamples),
        (GroundTruth(0, label_map=label_map), PixelSamples),
        (GroundTruth(0, (1, 9), label=3), TextSamples),
        (GroundTruth(0, (1, 4), label_map=label_map[:1]), TokenSamples),
    ):
        assert type(build_sampler('auto', [truth])) is sampler
    with pytest.raises(SeparationError, match=r'no ground truth.*LoadAnnotations'):
        build_sampler('auto', [GroundTruth(0)])


def test_a_sampler_is_built_from_its_config():
    sampler = build_sampler(dict(type='BoxSamples', output_size=5), [])
    assert (type(sampler), sampler.output_size) == (BoxSamples, 5)
    with pytest.raises(SeparationError, match=r"'Boxes'.*BoxSamples"):
        build_sampler(dict(type='Boxes'), [])
    with pytest.raises(SeparationError, match=r"BoxSamples.*'size'"):
        build_sampler(dict(type='BoxSamples', size=5), [])


@pytest.mark.parametrize(
    'sampler',
    [
        ImageSamples(),
        BoxSamples(),
        PixelSamples(),
        InstanceSamples(),
        TextSamples(),
        TokenSamples(),
    ],
)
def test_missing_ground_truth_is_named(sampler):
    with pytest.raises(SeparationError, match='need'):
        sampler.candidates(GroundTruth(0), seed=0)


def test_only_maps_of_the_batch_are_accepted():
    for sampler in (BoxSamples(), PixelSamples(), InstanceSamples()):
        assert sampler.accepts((2, 8, 4, 4), 2, (32, 32))
        assert sampler.accepts((2, 16, 8), 2, (32, 32))
        assert not sampler.accepts((512, 8, 4, 4), 2, (32, 32))  # regions, not images
        assert not sampler.accepts((2, 8, 1, 1), 2, (32, 32))
        assert not sampler.accepts((2, 8), 2, (32, 32))
    assert ImageSamples().accepts((2, 8), 2, (32, 32))


def test_the_choice_depends_on_seed_and_image_only():
    def chosen(image, seed):
        truth = GroundTruth(image, (32, 32), label_map=torch.zeros(32, 32, dtype=torch.int64))
        return PixelSamples().candidates(truth, seed).places.tolist()

    state = torch.get_rng_state(), np.random.get_state()[1].tolist()
    assert chosen(1, 0) == chosen(1, 0)
    assert chosen(1, 0) != chosen(2, 0)
    assert chosen(1, 0) != chosen(1, 5)
    assert torch.equal(torch.get_rng_state(), state[0])
    assert np.random.get_state()[1].tolist() == state[1]
