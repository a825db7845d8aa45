import cv2
import numpy as np
import pytest

pytest.importorskip('mmseg')

from mmlayerwise.registry import DATASETS
from mmlayerwise.utils.errors import UserError

CAMVID = 'mmlayerwise.CamVidDataset'
LOADING = [dict(type='mmseg.LoadAnnotations')]


@pytest.fixture
def camvid_folder(tmp_path):
    for folder in ('img', 'ann'):
        (tmp_path / folder).mkdir()
    labels = np.arange(12, dtype=np.uint8).reshape(3, 4)
    cv2.imwrite(str(tmp_path / 'ann' / 'frame.png'), labels)
    cv2.imwrite(str(tmp_path / 'img' / 'frame.png'), np.zeros((3, 4, 3), np.uint8))
    return tmp_path


def build(folder, **kwargs):
    return DATASETS.build(
        dict(
            type=CAMVID,
            data_root=str(folder),
            data_prefix=dict(img_path='img', seg_map_path='ann'),
            pipeline=LOADING,
            **kwargs,
        )
    )


def test_void_becomes_the_ignore_label(camvid_folder):
    labels = build(camvid_folder)[0]['gt_seg_map']
    np.testing.assert_array_equal(labels.ravel(), [*range(11), 255])


def test_a_subset_of_the_classes_is_renumbered_and_the_rest_ignored(camvid_folder):
    labels = build(camvid_folder, metainfo=dict(classes=('road', 'car')))[0]['gt_seg_map']
    expected = np.full(12, 255)
    expected[3], expected[8] = 0, 1
    np.testing.assert_array_equal(labels.ravel(), expected)


@pytest.mark.parametrize(('split', 'frames'), [('train', 367), ('val', 101), ('test', 233)])
def test_the_official_split_is_found_whole(data_root, split, frames):
    dataset = DATASETS.build(
        dict(
            type=CAMVID,
            data_root=str(data_root / 'camvid'),
            data_prefix=dict(img_path=f'img_dir/{split}', seg_map_path=f'ann_dir/{split}'),
            pipeline=LOADING,
        )
    )
    assert len(dataset) == frames
    labels = dataset[0]['gt_seg_map']
    assert labels.shape == (360, 480)
    assert set(np.unique(labels)) <= {*range(11), 255}


def test_a_folder_without_frames_is_named_with_the_way_to_get_them(camvid_folder):
    (camvid_folder / 'img' / 'frame.png').unlink()
    with pytest.raises(UserError, match=r'no frames in .*img.*download_dataset.py camvid'):
        build(camvid_folder)
