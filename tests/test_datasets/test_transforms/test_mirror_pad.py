import numpy as np
import pytest

pytest.importorskip('mmcv')
from mmlayerwise.datasets.transforms import MirrorPad


def test_image_and_labels_are_mirrored():
    labels = np.arange(12, dtype=np.uint8).reshape(3, 4)
    image = np.stack([labels, labels, labels], axis=-1)
    sample = MirrorPad(2).transform(dict(img=image, gt_seg_map=labels, seg_fields=['gt_seg_map']))
    padded = sample['gt_seg_map']
    assert padded[0].tolist() == [10, 9, 8, 9, 10, 11, 10, 9]
    assert np.array_equal(sample['img'][..., 1], padded)
    assert np.array_equal(padded[2:-2, 2:-2], labels)
    assert sample['img_shape'] == (7, 8)


def test_a_negative_margin_is_refused():
    with pytest.raises(ValueError, match='margin must not be negative, but is -1'):
        MirrorPad(-1)
