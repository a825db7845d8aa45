import pytest
import torch

from mmlayerwise.separation import GroundTruth, ImageSamples, SeparationError


def test_image_samples_pool_as_asked():
    output = torch.randn(2, 4, 8, 8)
    batch = [ImageSamples().candidates(GroundTruth(7 + n, label=n), seed=0) for n in range(2)]

    def read(**options):
        return ImageSamples(**options).extract(output, batch, (32, 32)).features

    assert torch.equal(read(pool='flatten'), output.flatten(1))
    assert torch.equal(read(), output.flatten(1))
    assert torch.allclose(read(pool='average'), output.mean((2, 3)))
    blocks = output.unflatten(2, (4, 2)).unflatten(4, (4, 2)).mean((3, 5))
    assert torch.allclose(read(pool=4), blocks.flatten(1), atol=1e-6)
    assert torch.allclose(read(max_dimension=64), blocks.flatten(1), atol=1e-6)
    found = ImageSamples().extract(output, batch, (32, 32))
    assert found.labels.tolist() == [0, 1]
    assert found.images.tolist() == [7, 8]
    with pytest.raises(SeparationError, match=r"pool must be .* got 'max'"):
        ImageSamples(pool='max')


def test_another_pooling_leaves_the_sampler_as_it_was():
    sampler = ImageSamples(pool='flatten')
    assert sampler.pooled('average').pool == 'average'
    assert sampler.pooled(3).pool == 3
    assert sampler.pool == 'flatten'
    with pytest.raises(SeparationError, match=r'pool must be .* got 0'):
        sampler.pooled(0)


def test_a_grid_larger_than_the_map_takes_the_map_as_it_is():
    output = torch.randn(2, 3, 2, 5)
    batch = [ImageSamples().candidates(GroundTruth(n, label=n), seed=0) for n in range(2)]
    assert torch.equal(
        ImageSamples(pool=9).extract(output, batch, (8, 20)).features, output.flatten(1)
    )


def test_a_grid_of_an_output_without_positions_is_refused():
    batch = [ImageSamples().candidates(GroundTruth(n, label=n), seed=0) for n in range(2)]
    with pytest.raises(SeparationError, match=r'shape \(2, 3, 7\) has no grid to pool to 4 cells'):
        ImageSamples(pool=4).extract(torch.randn(2, 3, 7), batch, (32, 32))
