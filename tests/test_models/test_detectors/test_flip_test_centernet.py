import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.registry import MODELS, init_default_scope

pytest.importorskip('mmdet')

from mmdet.structures import DetDataSample


@pytest.fixture
def detector():
    init_default_scope('mmdet')
    torch.manual_seed(0)
    return MODELS.build(
        ConfigDict(
            type='mmlayerwise.FlipTestCenterNet',
            backbone=dict(
                type='HourglassNet',
                downsample_times=1,
                num_stacks=2,
                stage_channels=[8, 8],
                stage_blocks=[1, 1],
                feat_channel=8,
            ),
            neck=None,
            bbox_head=dict(
                type='mmlayerwise.CenterNetStackedHead',
                num_classes=2,
                in_channels=8,
                feat_channels=8,
            ),
            test_cfg=dict(topk=5, local_maximum_kernel=3, max_per_img=5, flip_test=True),
        )
    ).eval()


def detect(detector, image):
    height, width = image.shape[-2:]
    sample = DetDataSample(
        metainfo=dict(
            img_shape=(height, width),
            batch_input_shape=(height, width),
            border=(0, height, 0, width),
        )
    )
    with torch.no_grad():
        (sample,) = detector.predict(image, [sample], rescale=False)
    return sample.pred_instances


def test_a_mirrored_image_has_the_same_scores_and_mirrored_sizes(detector):
    image = torch.randn(1, 3, 64, 64)
    straight, mirrored = detect(detector, image), detect(detector, image.flip(-1))
    assert straight.scores.tolist() == pytest.approx(mirrored.scores.tolist(), rel=1e-5)
    one, other = detector._last_maps(image), detector._last_maps(image.flip(-1))
    mean = (one[0] + other[0].flip(-1)) / 2
    # Both agree with the averaged heat map's highest peak, and that is no single view's.
    assert float(straight.scores[0]) == pytest.approx(float(mean.max()), rel=1e-5)
    assert float(straight.scores[0]) < max(float(one[0].max()), float(other[0].max()))


def test_the_flip_test_is_an_option(detector):
    image = torch.randn(1, 3, 64, 64)
    detector.test_cfg.flip_test = False
    single = detect(detector, image)
    assert float(single.scores[0]) == pytest.approx(
        float(detector._last_maps(image)[0].max()), rel=1e-5
    )


def test_an_image_that_nothing_centred_has_no_border(detector):
    image = torch.randn(1, 3, 64, 64)
    sample = DetDataSample(metainfo=dict(img_shape=(64, 64), batch_input_shape=(64, 64)))
    with torch.no_grad():
        (sample,) = detector.predict(image, [sample], rescale=False)
    assert torch.equal(sample.pred_instances.bboxes, detect(detector, image).bboxes)
