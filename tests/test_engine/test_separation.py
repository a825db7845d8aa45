import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from mmengine.dataset import BaseDataset, Compose, ConcatDataset, pseudo_collate
from mmengine.structures import BaseDataElement, InstanceData, PixelData
from torch import nn

from mmlayerwise.engine.separation import (
    InferenceForward,
    MeasuringData,
    annotations_first,
    ground_truth,
)
from mmlayerwise.separation import (
    Batch,
    BoxSamples,
    GroundTruth,
    ImageSamples,
    InstanceSamples,
    PixelSamples,
    SeparationError,
    SeparationMeter,
)
from tests.test_engine.test_hooks.runs import runner_of, tiny_config
from tests.test_separation.reference import friends


class LoadAnnotations:
    def __call__(self, results):
        return results


class LoadImage(LoadAnnotations):
    pass


class Resize(LoadAnnotations):
    pass


class Labelled(BaseDataset):
    """Images of ten classes, the first nine rare, or with boxes of them."""

    def __init__(self, pipeline=(), boxes=False):
        self.boxes = boxes
        super().__init__(pipeline=list(pipeline))

    def load_data_list(self):
        labels = [min(number, 9) for number in range(100)]
        if self.boxes:
            return [dict(instances=[dict(bbox_label=label)]) for label in labels]
        return [dict(gt_label=label) for label in labels]


def kinds(dataset):
    return [type(transform).__name__ for transform in dataset.pipeline.transforms]


def test_annotations_are_loaded_before_the_image_changes_in_a_copy_only():
    dataset = Labelled()
    dataset.pipeline = Compose([LoadImage(), Resize(), LoadAnnotations()])
    assert kinds(annotations_first(dataset)) == ['LoadImage', 'LoadAnnotations', 'Resize']
    assert kinds(dataset) == ['LoadImage', 'Resize', 'LoadAnnotations']
    both = annotations_first(ConcatDataset([dataset, dataset]))
    assert kinds(both.datasets[1]) == ['LoadImage', 'LoadAnnotations', 'Resize']


@pytest.mark.parametrize('sampler', [ImageSamples(), BoxSamples(max_images=18)])
def test_images_are_chosen_balanced_by_the_labels_that_the_data_set_tells(sampler):
    dataset = Labelled(boxes=isinstance(sampler, BoxSamples))
    data = MeasuringData(dataset, 4, list)
    data.choose(sampler, 18)
    assert len(data.images) == 18
    assert data.images[:9] == list(range(9))  # the only image of each rare class
    data.choose(sampler, 18)
    assert data.images == sorted(data.images)
    again = MeasuringData(dataset, 4, list)
    again.choose(sampler, 18)
    assert again.images == data.images
    other = MeasuringData(dataset, 4, list, seed=1)
    other.choose(sampler, 18)
    assert other.images != data.images


def test_all_images_are_taken_where_there_are_few():
    data = MeasuringData(Labelled(), 4, list)
    data.choose(PixelSamples(max_images=100), 5)
    assert data.images == list(range(100))
    assert data.num_batches() == 25


def test_a_data_set_of_one_image_is_refused():
    with pytest.raises(SeparationError, match='hold 1 images; a measurement needs at least 2'):
        MeasuringData([0], 1, list)


def test_ground_truth_of_every_kind_of_sample():
    sample = BaseDataElement(metainfo=dict(img_shape=(6, 8)))
    sample.gt_label = torch.tensor([3])
    sample.gt_instances = InstanceData(bboxes=torch.rand(2, 4), labels=torch.tensor([1, 2]))
    sample.gt_sem_seg = PixelData(data=torch.arange(48).view(1, 6, 8))
    truth = ground_truth(sample, 5, (8, 8))
    assert (truth.image, truth.size, truth.label) == (5, (6, 8), 3)
    assert torch.equal(truth.boxes, sample.gt_instances.bboxes)
    assert truth.box_labels.tolist() == [1, 2]
    assert torch.equal(truth.label_map, torch.arange(48).view(6, 8))
    assert ground_truth(torch.tensor(4), 0, (8, 8)).label == 4
    assert ground_truth(np.int64(4), 0, (8, 8)).label == 4
    assert ground_truth(None, 0, (8, 8)).label is None


def test_a_map_of_another_size_is_brought_to_what_the_network_sees():
    sample = BaseDataElement(metainfo=dict(img_shape=(4, 4)))
    sample.gt_sem_seg = PixelData(data=torch.arange(4).view(1, 2, 2))
    expected = torch.arange(4).view(2, 2).repeat_interleave(2, 0).repeat_interleave(2, 1)
    assert torch.equal(ground_truth(sample, 0, (4, 4)).label_map, expected)


def test_several_labels_an_image_are_refused():
    sample = BaseDataElement(gt_label=torch.tensor([1, 2]))
    with pytest.raises(SeparationError, match='Image 7 has 2 labels'):
        ground_truth(sample, 7, (4, 4))


class OnlyPredict(nn.Module):
    def forward(self, inputs, mode):
        if mode == 'tensor':
            raise NotImplementedError
        return mode


def test_a_model_without_tensor_mode_is_run_in_predict():
    forward = InferenceForward()
    assert forward(OnlyPredict(), dict(inputs=0)) == 'predict'
    assert forward.mode == 'predict'


class FailsHalfway(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3)
        self.last = nn.Conv2d(4, 2, 1)

    def forward(self, inputs, mode):
        features = self.stem(inputs)
        if mode == 'tensor':
            raise NotImplementedError
        return self.last(features)


def test_a_forward_that_was_not_settled_settles_before_the_model_is_watched():
    truths = [GroundTruth(n, label=n % 2) for n in range(6)]
    data = [Batch(dict(inputs=torch.randn(6, 3, 8, 8)), truths, (8, 8))]
    for model, mode in ((FailsHalfway(), 'predict'), (Plain(), 'tensor')):
        forward = InferenceForward()
        meter = SeparationMeter(order=1)
        profile = meter.measure(model, data, forward)
        assert forward.mode == mode
        assert [layer.name for layer in profile.layers] == ['stem', 'last']
        # The meter is prepared, another forward function is not settled.
        again = meter.measure(model, data, InferenceForward())
        assert [layer.num_samples for layer in again.layers] == [6, 6]


class Plain(FailsHalfway):
    def forward(self, inputs, mode):
        return self.last(self.stem(inputs))


def test_settling_runs_a_model_once():
    calls = []

    class Counting(nn.Module):
        def forward(self, inputs, mode):
            calls.append(mode)
            return inputs

    forward = InferenceForward()
    assert forward(Counting(), dict(inputs=3)) == 3
    forward.settle(Counting(), dict(inputs=3))
    assert calls == ['tensor']


def test_masks_of_every_kind_are_read():
    structures = pytest.importorskip('mmdet.structures.mask')
    bitmap = np.zeros((2, 6, 8), dtype=np.uint8)
    bitmap[0, 1:3, 2:6] = 1
    bitmap[1, 5, 7] = 1
    polygons = [[np.array([2.0, 1, 6, 1, 6, 3, 2, 3])], [np.array([7.0, 5, 8, 5, 8, 6, 7, 6])]]
    for masks in (
        structures.BitmapMasks(bitmap, 6, 8),
        structures.PolygonMasks(polygons, 6, 8),
        torch.tensor(bitmap),
    ):
        sample = BaseDataElement(metainfo=dict(img_shape=(6, 8), scale_factor=(0.5, 0.25)))
        sample.gt_instances = InstanceData(
            bboxes=torch.rand(2, 4), labels=torch.tensor([1, 2]), masks=masks
        )
        truth = ground_truth(sample, 0, (8, 8))
        assert truth.masks.dtype == torch.bool
        assert torch.equal(truth.masks, torch.tensor(bitmap).bool())
        assert truth.scale == (0.5, 0.25)
        areas = InstanceSamples().candidates(truth, seed=0).areas
        assert areas.tolist() == [64, 8]


class Texts(nn.Module):
    """Embeds and convolves texts, as a network of mmengine."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.data_preprocessor = lambda data, training: data
        self.embedding = nn.Embedding(9, 4)
        self.conv = nn.Conv1d(4, 6, 3, padding=1)

    def forward(self, inputs, data_samples=None, mode='tensor'):
        return self.conv(self.embedding(inputs).transpose(1, 2))


def test_texts_of_a_data_set_are_measured_as_texts():
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(0, 9, (20, 12), generator=generator)
    samples = [BaseDataElement(gt_label=torch.tensor([n % 2])) for n in range(20)]
    items = [dict(inputs=text, data_samples=one) for text, one in zip(tokens, samples, strict=True)]

    def collate(batch):
        inputs = torch.stack([item['inputs'] for item in batch])
        return dict(inputs=inputs, data_samples=[item['data_samples'] for item in batch])

    data = MeasuringData(items, 5, collate)
    model, meter = Texts(), SeparationMeter(pooling='average')
    assert data.first(model).input_size == (1, 12)
    meter.prepare(model, data.first(model), InferenceForward())
    data.choose(meter.sampler, 100)
    profile = meter.measure(model, data.batches(model), InferenceForward())
    assert (profile.samples, profile['conv'].num_samples) == ('text', 20)
    with torch.no_grad():
        features = model(tokens).mean(2)
    assert profile['conv'].dimension == 6
    expected = friends(features, torch.arange(20) % 2)[:, 0].mean()
    assert profile['conv'].index == pytest.approx(expected)


def test_boxes_are_in_the_coordinates_of_the_resized_image(tmp_path):
    pytest.importorskip('mmdet')
    cfg = tiny_config('detection', tmp_path, {})
    resize = next(s for s in cfg.val_dataloader.dataset.pipeline if 'Resize' in s.type)
    resize.scale_factor = 0.5
    runner = runner_of(cfg)
    dataset = runner.val_dataloader.dataset
    data = MeasuringData.from_dataloader(runner.val_dataloader)
    truth = data.first(runner.model).truths[1]
    boxes = [box['bbox'] for box in dataset.get_data_info(1)['instances']]
    assert truth.size == tuple(side // 2 for side in dataset[1]['data_samples'].ori_shape)
    assert truth.scale == (0.5, 0.5)
    np.testing.assert_allclose(truth.boxes.numpy(), np.array(boxes) / 2, atol=1e-4)


class Untold(torch.utils.data.Dataset):
    """Images of ten classes, the first nine rare; which, shows only when one is loaded."""

    def __init__(self):
        self.loaded = []

    def __getitem__(self, image):
        self.loaded.append(image)
        return torch.zeros(1, 4, 4), min(image, 9)

    def __len__(self):
        return 100


class UntoldMaps(Untold):
    """The same as label maps: class 9 everywhere, and in one place the image's own."""

    def __getitem__(self, image):
        label_map = torch.full((1, 4, 4), 9)
        label_map[0, 0, 0] = min(image, 9)
        sample = BaseDataElement(gt_sem_seg=PixelData(data=label_map))
        return dict(inputs=torch.zeros(1, 4, 4), data_samples=sample)


UNTOLD = {
    'images': (Untold, ImageSamples, {}, torch.utils.data.default_collate),
    'pixels': (UntoldMaps, PixelSamples, dict(max_images=18), pseudo_collate),
}


def chosen_untold(kind, seed=0):
    dataset, sampler, options, collate = UNTOLD[kind]
    data = MeasuringData(dataset(), 4, collate, seed=seed)
    data.choose(sampler(**options), 18)
    return data


@pytest.mark.parametrize('kind', UNTOLD)
def test_labels_that_the_data_set_does_not_tell_are_looked_for_in_one_pass(kind):
    data = chosen_untold(kind)
    assert len(data.images) == 18
    assert data.images[:9] == list(range(9))  # the only image of each rare class
    assert data.images == chosen_untold(kind).images
    assert data.images != chosen_untold(kind, seed=1).images
    if kind == 'images':
        assert data.dataset.loaded == list(range(100))


def choose_in_a_process(rank, path):
    torch.set_num_threads(1)
    for world in range(rank + 1, 4):
        store = f'file://{path}-of-{world}'
        dist.init_process_group('gloo', init_method=store, rank=rank, world_size=world)
        torch.save({kind: chosen_untold(kind).images for kind in UNTOLD}, f'{path}-{world}-{rank}')
        loaded = chosen_untold('images').dataset.loaded
        assert loaded == list(range(100))[rank::world]
        dist.destroy_process_group()


def test_any_number_of_processes_chooses_the_same_images(tmp_path):
    path = str(tmp_path / 'images')
    mp.spawn(choose_in_a_process, (path,), nprocs=3)
    expected = {kind: chosen_untold(kind).images for kind in UNTOLD}
    for world in (1, 2, 3):
        for rank in range(world):
            assert torch.load(f'{path}-{world}-{rank}') == expected


def test_data_without_any_label_are_chosen_all_the_same():
    class Unlabelled(UntoldMaps):
        def __getitem__(self, image):
            sample = BaseDataElement(gt_sem_seg=PixelData(data=torch.full((1, 4, 4), 255)))
            return dict(inputs=torch.zeros(1, 4, 4), data_samples=sample)

    data = MeasuringData(Unlabelled(), 4, pseudo_collate)
    data.choose(PixelSamples(max_images=5), 10)
    assert data.images == [0, 1, 2, 3, 4]
