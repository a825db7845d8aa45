import numpy as np
import torch

from mmlayerwise.datasets.transforms import PackClassificationInputs


def test_packs_image_label_and_meta_information():
    image = np.random.default_rng(0).integers(256, size=(4, 5, 3), dtype=np.uint8)
    results = {'img': image, 'gt_label': 3, 'sample_idx': 7, 'img_shape': (4, 5), 'other': 0}
    packed = PackClassificationInputs()(results)
    assert packed['inputs'].dtype == torch.uint8
    np.testing.assert_array_equal(packed['inputs'], image.transpose(2, 0, 1))
    sample = packed['data_samples']
    assert sample.gt_label.tolist() == [3]
    assert sample.metainfo == {'sample_idx': 7, 'img_shape': (4, 5)}


def test_grey_images_get_a_channel():
    packed = PackClassificationInputs()({'img': np.zeros((4, 5), np.uint8)})
    assert packed['inputs'].shape == (1, 4, 5)
    assert 'gt_label' not in packed['data_samples']
