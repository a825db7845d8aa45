import numpy as np

from mmlayerwise.datasets import Digits
from mmlayerwise.datasets.handwritten_digits import load_handwritten_digits


def test_it_gives_every_digit_of_its_split_without_files():
    for split, length in (('train', 1297), ('test', 500)):
        dataset = Digits(split=split)
        images, labels = load_handwritten_digits(split)
        assert len(dataset) == length
        assert np.array_equal(dataset.get_gt_labels(), labels)
        assert np.array_equal(dataset[11]['img'], images[11])
    assert dataset.test_mode


def test_samples_may_be_changed_without_changing_the_data():
    dataset = Digits()
    dataset[0]['img'][:] = 0
    assert dataset[0]['img'].any()
