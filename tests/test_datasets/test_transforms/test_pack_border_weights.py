import numpy as np
import pytest

from mmlayerwise.utils.errors import UserError

pytest.importorskip('mmseg')
from mmlayerwise.datasets.transforms import BorderWeightMap, PackBorderWeights


def test_weights_come_with_the_sample():
    labels = np.zeros((6, 8), np.uint8)
    labels[:, :3] = labels[:, 5:] = 1
    sample = dict(img=np.zeros((6, 8), np.uint8), gt_seg_map=labels)
    weights = BorderWeightMap().transform(sample)['border_weight_map']
    packed = PackBorderWeights(meta_keys=()).transform(sample)
    assert packed['inputs'].shape == (1, 6, 8)
    assert np.array_equal(packed['data_samples'].border_weights.data[0].numpy(), weights)


def test_missing_weights_are_explained():
    with pytest.raises(UserError, match='PackBorderWeights needs BorderWeightMap in front of it'):
        PackBorderWeights().transform(dict(img=np.zeros((4, 4), np.uint8)))
