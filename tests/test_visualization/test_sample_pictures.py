import numpy as np
import pytest
import torch
from mmengine.structures import BaseDataElement, InstanceData, PixelData

from mmlayerwise.structures import ClassificationDataSample
from mmlayerwise.utils.errors import UserError
from mmlayerwise.visualization.sample_pictures import draw_sample, tile, to_picture

META = dict(classes=('cat', 'dog'), palette=[(255, 0, 0), (0, 0, 255)])


def test_inputs_become_rgb_pictures():
    inputs = torch.zeros(3, 4, 5, dtype=torch.uint8)
    inputs[0] = 200  # blue, in the order BGR
    picture = to_picture(inputs)
    assert picture.shape == (4, 5, 3)
    assert picture[0, 0].tolist() == [0, 0, 200]


def test_grey_and_out_of_range_inputs_are_shown():
    picture = to_picture(torch.tensor([[[-3.0, 300.0]]]))
    assert picture.tolist() == [[[0, 0, 0], [255, 255, 255]]]


@pytest.mark.parametrize('shape', [(2, 4, 4), (3, 4), (1, 3, 4, 4)])
def test_inputs_that_are_no_image_are_named(shape):
    with pytest.raises(UserError, match='channels'):
        to_picture(torch.zeros(shape))


def test_a_small_labelled_image_is_enlarged_and_captioned():
    picture = np.full((8, 8, 3), 90, dtype=np.uint8)
    drawn = draw_sample(picture, ClassificationDataSample().set_gt_label(1), META)
    assert drawn.shape[1] == 320
    assert (drawn[:320] == 90).all()
    caption = drawn[320:]
    other = draw_sample(picture, ClassificationDataSample().set_gt_label(0), META)[320:]
    assert (caption < 100).any()
    assert not np.array_equal(caption, other)


def test_boxes_and_masks_are_drawn_in_place_and_the_sample_is_left_alone():
    structures = pytest.importorskip('mmdet.structures')
    masks = np.zeros((1, 160, 160), dtype=bool)
    masks[0, 80:120, 80:120] = True
    boxes = torch.tensor([[80.0, 80.0, 120.0, 120.0]])
    sample = structures.DetDataSample(
        gt_instances=InstanceData(bboxes=boxes, labels=torch.tensor([0]), masks=masks)
    )
    drawn = draw_sample(np.zeros((160, 160, 3), dtype=np.uint8), sample, META).astype(int)
    assert drawn.shape == (320, 320, 3)
    # The class's red inside the enlarged mask, nothing well outside of the box.
    assert drawn[220:235, 220:235, 0].mean() > 100
    assert drawn[:140].max() == 0
    assert torch.equal(sample.gt_instances.bboxes, boxes)


def test_label_maps_are_drawn_in_the_classes_colours():
    structures = pytest.importorskip('mmseg.structures')
    labels = torch.zeros(1, 64, 64, dtype=torch.long)
    labels[:, :, 32:] = 1
    sample = structures.SegDataSample(gt_sem_seg=PixelData(data=labels))
    drawn = draw_sample(np.zeros((64, 64, 3), dtype=np.uint8), sample, META).astype(int)
    assert drawn.shape == (320, 320, 3)
    # A corner each, where no name is written.
    left, right = drawn[300:, :20].mean(axis=(0, 1)), drawn[300:, 300:].mean(axis=(0, 1))
    assert left[0] > 100 > left[2]
    assert right[2] > 100 > right[0]


def test_a_stuff_map_without_class_names_is_left_out():
    structures = pytest.importorskip('mmdet.structures')
    instances = InstanceData(bboxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.long))
    stuff = PixelData(sem_seg=torch.full((1, 32, 32), 91))
    sample = structures.DetDataSample(gt_instances=instances, gt_sem_seg=stuff)
    drawn = draw_sample(np.full((32, 32, 3), 7, dtype=np.uint8), sample, META)
    assert (drawn == 7).all()


def test_unknown_samples_are_named():
    with pytest.raises(UserError, match='BaseDataElement cannot be drawn'):
        draw_sample(np.zeros((9, 9, 3), dtype=np.uint8), BaseDataElement(), META)


def test_pictures_are_tiled_row_by_row():
    pictures = [np.full((20, 30, 3), value, dtype=np.uint8) for value in (10, 20, 30)]
    sheet = tile(pictures, gap=4)
    assert sheet.shape == (2 * 24 + 4, 2 * 34 + 4, 3)
    assert sheet[10, 10, 0] == 10
    assert sheet[10, 44, 0] == 20
    assert sheet[34, 10, 0] == 30
    assert sheet[34, 44, 0] == 255


def test_large_pictures_shrink_to_their_cell():
    sheet = tile([np.zeros((500, 1000, 3), dtype=np.uint8)], cell=100, gap=0)
    assert sheet.shape == (50, 100, 3)
