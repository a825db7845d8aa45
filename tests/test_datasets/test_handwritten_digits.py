import numpy as np
import pytest

from mmlayerwise.datasets.handwritten_digits import load_handwritten_digits
from mmlayerwise.utils.errors import UserError


def test_the_splits_are_the_whole_of_the_1797_digits_and_disjoint():
    from sklearn.datasets import load_digits

    train, train_labels = load_handwritten_digits('train')
    test, test_labels = load_handwritten_digits('test')
    whole = load_digits()
    assert (len(train), len(test)) == (1297, 500)
    assert np.array_equal(np.concatenate([train_labels, test_labels]), whole.target)
    assert np.allclose(np.concatenate([train, test]) / 255 * 16, whole.images, atol=0.04)


@pytest.mark.parametrize('split', ['train', 'test'])
def test_every_class_is_there_about_equally_often(split):
    images, labels = load_handwritten_digits(split)
    assert images.dtype == np.uint8
    assert images.shape[1:] == (8, 8)
    counts = np.bincount(labels, minlength=10)
    assert counts.min() > 0.85 * counts.max()


def test_shared_arrays_cannot_be_changed():
    images, _ = load_handwritten_digits('train')
    with pytest.raises(ValueError, match='read-only'):
        images[0, 0, 0] = 1


def test_an_unknown_split_is_named():
    with pytest.raises(UserError, match="'val'"):
        load_handwritten_digits('val')
