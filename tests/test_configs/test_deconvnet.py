"""The pipelines of DeconvNet's stages on a small PASCAL VOC, and prediction by proposals."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import DATASETS, DefaultScope
from PIL import Image

pytest.importorskip('mmseg')

from tests.zoo.configs import build, reduce
from tests.zoo.reductions import reduction_for

CONFIGS = Path(__file__).parents[2] / 'configs' / 'deconvnet'
STAGE1 = 'deconvnet-stage1_vgg16-bn_1xb64-20k_voc12aug-224x224'
STAGE2 = 'deconvnet-stage2_vgg16-bn_1xb64-40k_voc12aug-224x224'
CAMVID = 'deconvnet_vgg16-bn_1xb16-40k_camvid-224x224'
DOG, PERSON = 12, 15
XML = (
    '<annotation>'
    '<object><name>dog</name><bndbox><xmin>21</xmin><ymin>31</ymin><xmax>120</xmax><ymax>130</ymax>'
    '</bndbox></object></annotation>'
)


@pytest.fixture
def voc(tmp_path) -> Path:
    """One image of a dog beside a person, with proposals of both and of neither."""
    labels = np.zeros((200, 300), np.uint8)
    labels[30:130, 20:120] = DOG
    labels[30:130, 120:220] = PERSON
    image = np.full((200, 300, 3), 90, np.uint8)
    for folder in ('JPEGImages', 'SegmentationClass', 'SegmentationClassAug', 'Annotations'):
        (tmp_path / folder).mkdir()
    for name in ('dog', 'other'):
        Image.fromarray(image).save(tmp_path / 'JPEGImages' / f'{name}.jpg')
        Image.fromarray(labels).save(tmp_path / 'SegmentationClass' / f'{name}.png')
        shutil.copy(
            tmp_path / 'SegmentationClass' / f'{name}.png', tmp_path / 'SegmentationClassAug'
        )
        (tmp_path / 'Annotations' / f'{name}.xml').write_text(XML)
    splits = tmp_path / 'ImageSets' / 'Segmentation'
    splits.mkdir(parents=True)
    for split, name in (('train', 'dog'), ('aug', 'other'), ('val', 'dog')):
        (splits / f'{split}.txt').write_text(f'{name}\n')
    (tmp_path / 'EdgeBoxes').mkdir()
    boxes = [[250, 150, 299, 199, 0.9], [20, 30, 200, 130, 0.8], [0, 0, 300, 200, 0.1]]
    for name in ('dog', 'other'):
        np.save(tmp_path / 'EdgeBoxes' / f'{name}.npy', boxes)
    return tmp_path


def load(name: str, root: Path) -> Config:
    config = Config.fromfile(CONFIGS / f'{name}.py')
    train = config.train_dataloader.dataset
    for dataset in (*train.get('datasets', ()), config.val_dataloader.dataset):
        dataset.data_root = str(root)
        for transform in dataset.pipeline:
            if 'folder' in transform:
                transform.folder = str(root / 'EdgeBoxes')
    return config


def samples(config: Config, split: str) -> list[dict]:
    with DefaultScope.overwrite_default_scope('mmseg'):
        dataset = DATASETS.build(config[f'{split}_dataloader'].dataset)
        return [dataset[number] for number in range(min(len(dataset), 2))]


def test_first_stage_sees_one_object_and_background(voc):
    items = samples(load(STAGE1, voc), 'train')
    assert len(items) == 2
    for item in items:
        labels = item['data_samples'].gt_sem_seg.data
        assert item['inputs'].shape == (3, 224, 224)
        assert labels.shape == (1, 224, 224)
        # The person beside the dog has become background.
        assert set(labels.unique().tolist()) <= {0, DOG, 255}
        assert (labels == DOG).float().mean() > 0.5


def test_second_stage_sees_proposals_with_all_labels(voc):
    for item in samples(load(STAGE2, voc), 'train'):
        labels = item['data_samples'].gt_sem_seg.data
        # Of the proposals only the second overlaps the dog's box by half.
        assert {DOG, PERSON} <= set(labels.unique().tolist())
        assert item['inputs'].shape == (3, 224, 224)


def test_second_stage_starts_from_the_first():
    config = Config.fromfile(CONFIGS / f'{STAGE2}.py')
    first = Config.fromfile(CONFIGS / f'{STAGE1}.py')
    assert config.load_from == f'work_dirs/{STAGE1}/iter_{first.train_cfg.max_iters}.pth'
    assert config.train_cfg.max_iters == 40000


def test_images_are_predicted_by_their_proposals(voc):
    config = load(STAGE2, voc)
    (item,) = samples(config, 'val')
    proposals = item['data_samples'].proposals
    assert proposals.tolist() == [[250, 150, 299, 199], [20, 30, 200, 130], [0, 0, 300, 200]]
    model_config = reduce(config, 'sem', reduction_for(STAGE2, 'sem'))
    model_config.test_cfg.update(mode='proposals', crop_size=(96, 96), max_proposals=1)
    model = build(model_config, 'mmseg').eval()
    with torch.no_grad():
        (prediction,) = model.test_step(pseudo_collate([item]))
    scored = prediction.seg_logits.data.abs().sum(0) > 0
    assert scored.shape == (200, 300)
    # The first proposal is too small; the second with its surroundings is (2, 20, 218, 140).
    assert scored[20:140, 2:218].float().mean() > 0.9
    assert not scored[:20].any()
    assert not scored[140:].any()
    assert not scored[:, :2].any()
    assert not scored[:, 218:].any()


def test_frames_of_camvid(data_root):
    config = Config.fromfile(CONFIGS / f'{CAMVID}.py')
    for split in ('train', 'val'):
        config[f'{split}_dataloader'].dataset.data_root = str(data_root / 'camvid')
    for item in samples(config, 'train'):
        assert item['inputs'].shape == (3, 224, 224)
    item = samples(config, 'val')[0]
    assert item['inputs'].shape == (3, 360, 480)
    assert item['data_samples'].proposals[0].tolist() == [0, 0, 480, 360]
    assert len(item['data_samples'].proposals) > 20
