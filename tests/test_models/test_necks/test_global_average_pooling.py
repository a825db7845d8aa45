import torch

from mmlayerwise.models.necks import AdaptiveAveragePooling, GlobalAveragePooling


def test_means_of_every_feature_map():
    maps = (torch.randn(2, 3, 4, 5), torch.randn(2, 6, 2, 2))
    pooled = GlobalAveragePooling()(maps)
    for feature, vector in zip(maps, pooled, strict=True):
        torch.testing.assert_close(vector, feature.mean((2, 3)))


def test_takes_one_tensor():
    (pooled,) = GlobalAveragePooling()(torch.ones(1, 3, 2, 2))
    assert pooled.tolist() == [[1, 1, 1]]


def test_grid_of_the_features_own_size_only_flattens():
    feature = torch.randn(2, 3, 7, 7)
    (pooled,) = AdaptiveAveragePooling(output_size=7)((feature,))
    torch.testing.assert_close(pooled, feature.flatten(1))


def test_any_size_gives_the_same_number_of_features():
    neck = AdaptiveAveragePooling(output_size=6)
    assert {neck((torch.zeros(1, 4, n, n),))[0].shape for n in (2, 6, 13)} == {(1, 4 * 36)}


def test_a_text_is_averaged_over_as_many_parts():
    feature = torch.arange(24.0).reshape(1, 2, 12)
    (pooled,) = AdaptiveAveragePooling(output_size=3)(feature)
    assert torch.equal(pooled, feature.reshape(1, 2, 3, 4).mean(3).flatten(1))
