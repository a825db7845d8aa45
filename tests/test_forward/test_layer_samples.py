import pytest
import torch

from mmlayerwise.forward import ForwardLearningError, collect_samples
from mmlayerwise.forward.layer_samples import check_samples
from mmlayerwise.separation import Batch, BoxSamples, GroundTruth, ImageSamples, PixelSamples
from mmlayerwise.separation.samples import TextSamples

# Every pixel tells its own place: channel 0 its row, channel 1 its column.
ROWS, COLUMNS = torch.meshgrid(torch.arange(40.0), torch.arange(60.0), indexing='ij')
IMAGE = torch.stack([ROWS, COLUMNS])


def batch(truths, stride=1):
    inputs = IMAGE[:, ::stride, ::stride].repeat(len(truths), 1, 1, 1)
    return Batch(inputs, truths, (40, 60))


def read(one):
    return one.inputs


def test_images_are_taken_whole_and_balanced():
    labels = [0, 0, 0, 0, 1, 1, 2, 2]
    truths = [GroundTruth(image, (40, 60), label=label) for image, label in enumerate(labels)]
    batches = [batch(truths[:5]), batch(truths[5:])]
    samples = collect_samples(batches, read, ImageSamples(), 6)
    assert samples.inputs.shape == (6, 2, 40, 60)
    assert samples.labels.bincount().tolist() == [2, 2, 2]
    assert samples.sources is None


def test_texts_are_taken_whole_as_the_layer_reads_them():
    tokens = torch.randint(5, (4, 7), generator=torch.Generator().manual_seed(0))
    vectors = torch.randn(5, 3)
    truths = [GroundTruth(text, (1, 7), label=text % 2) for text in range(4)]
    samples = collect_samples(
        [Batch(tokens, truths, (1, 7))],
        lambda one: vectors[one.inputs].transpose(1, 2),
        TextSamples(),
        4,
    )
    assert torch.equal(samples.inputs, vectors[tokens].transpose(1, 2))
    assert samples.labels.tolist() == [0, 1, 0, 1]
    assert samples.sources is None


def test_box_windows_have_the_box_in_the_middle_and_stay_inside():
    boxes = torch.tensor([[10.0, 10, 30, 20], [0, 0, 4, 4], [50, 30, 60, 40]])
    truth = GroundTruth(5, (40, 60), boxes=boxes, box_labels=torch.tensor([3, 1, 3]))
    samples = collect_samples([batch([truth])], read, BoxSamples(), 10, crop_size=8)
    assert samples.labels.tolist() == [3, 1, 3]
    assert samples.sources.tolist() == [5, 5, 5]
    corners = samples.inputs[:, :, 0, 0].tolist()
    assert corners == [[11, 16], [0, 0], [31, 51]] or corners == [[11, 16], [0, 0], [32, 52]]
    ends = samples.inputs[:, :, -1, -1]
    assert torch.equal(ends, samples.inputs[:, :, 0, 0] + 7)


def test_windows_follow_a_coarser_input_of_the_layer():
    truth = GroundTruth(
        0, (40, 60), boxes=torch.tensor([[16.0, 16, 24, 24]]), box_labels=torch.tensor([0])
    )
    samples = collect_samples([batch([truth], stride=2)], read, BoxSamples(), 10, crop_size=8)
    assert samples.inputs.shape == (1, 2, 4, 4)
    assert samples.inputs[0, :, 0, 0].tolist() == [16, 16]


def test_pixel_windows_have_their_most_frequent_label():
    label_map = torch.zeros(40, 60, dtype=torch.int64)
    label_map[:, 20:40] = 1
    label_map[:, 40:] = 255
    truth = GroundTruth(0, (40, 60), label_map=label_map)
    samples = collect_samples(
        [batch([truth])], read, PixelSamples(max_per_image=200), 200, crop_size=5
    )
    assert len(samples.labels) > 150
    for window, label in zip(samples.inputs, samples.labels, strict=True):
        rows, columns = window.long()
        assert label == label_map[rows, columns].mode().values.mode().values
        assert label != 255


def test_the_choice_depends_on_the_seed_alone():
    truths = [GroundTruth(image, (40, 60), label=image % 2) for image in range(20)]
    batches = [batch(truths)]
    for one in batches:
        one.inputs += torch.arange(20.0).view(-1, 1, 1, 1) * 100
    first, again, other = (
        collect_samples(batches, read, ImageSamples(), 6, seed=seed) for seed in (0, 0, 1)
    )
    assert torch.equal(first.inputs, again.inputs)
    assert not torch.equal(first.inputs, other.inputs)


def test_images_of_several_sizes_need_a_window():
    truths = [GroundTruth(0, (40, 60), label=0), GroundTruth(1, (30, 60), label=1)]
    large = batch(truths[:1])
    small = Batch(IMAGE[None, :, :30], truths[1:], (30, 60))
    with pytest.raises(ForwardLearningError, match=r'several sizes.*give crop_size'):
        collect_samples([large, small], read, ImageSamples(), 10)
    samples = collect_samples([large, small], read, ImageSamples(), 10, crop_size=20)
    assert samples.inputs[:, :, 0, 0].tolist() == [[10, 20], [5, 20]]


def test_bad_input_is_refused():
    empty = GroundTruth(
        0, (40, 60), boxes=torch.zeros(0, 4), box_labels=torch.zeros(0, dtype=torch.int64)
    )
    full = GroundTruth(
        0, (40, 60), boxes=torch.tensor([[1.0, 1, 9, 9]]), box_labels=torch.tensor([0])
    )
    with pytest.raises(ForwardLearningError, match='gave no box samples'):
        collect_samples([batch([empty])], read, BoxSamples(), 10, crop_size=8)
    with pytest.raises(ForwardLearningError, match='crop_size 50 exceeds the input'):
        collect_samples([batch([full])], read, BoxSamples(), 10, crop_size=50)
    with pytest.raises(ForwardLearningError, match='need a crop_size'):
        collect_samples([batch([full])], read, BoxSamples(), 10)
    with pytest.raises(ForwardLearningError, match='num_samples=12 are too few for 10 classes'):
        check_samples(torch.tensor([0, 1]), 10, 12)
    with pytest.raises(ForwardLearningError, match='All 3 samples have the label 4'):
        check_samples(torch.tensor([4, 4, 4]), None, 12)
