import torch
from mmengine.model import ImgDataPreprocessor

from mmlayerwise.models.data_preprocessors import ClassificationDataPreprocessor

NORMALISATION = {'mean': [120.0, 110.0, 100.0], 'std': [60.0, 50.0, 40.0], 'bgr_to_rgb': True}


def random_images(*sizes: tuple[int, int]) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [
        torch.randint(256, (3, *size), generator=generator, dtype=torch.uint8) for size in sizes
    ]


def test_equals_the_parent_class_on_images_of_one_size():
    images = random_images((8, 6), (8, 6))
    actual = ClassificationDataPreprocessor(**NORMALISATION)({'inputs': images})['inputs']
    expected = ImgDataPreprocessor(**NORMALISATION)({'inputs': images})['inputs']
    assert torch.equal(actual, expected)


def test_normalises_in_rgb_order():
    image = torch.tensor([10, 20, 30], dtype=torch.uint8).reshape(3, 1, 1)
    batch = ClassificationDataPreprocessor(**NORMALISATION)({'inputs': [image]})['inputs']
    expected = torch.tensor([(30 - 120) / 60, (20 - 110) / 50, (10 - 100) / 40])
    torch.testing.assert_close(batch.flatten(), expected)


def test_pads_images_of_several_sizes():
    small, large = random_images((4, 6), (8, 8))
    batch = ClassificationDataPreprocessor()({'inputs': [small, large]})['inputs']
    assert batch.shape == (2, 3, 8, 8)
    assert torch.equal(batch[0, :, :4, :6], small.float())
    assert batch[0, :, 4:].abs().sum() == 0


def test_leaves_the_given_data_as_it_is():
    data = {'inputs': random_images((4, 4), (4, 4))}
    ClassificationDataPreprocessor()(data)
    assert isinstance(data['inputs'], list)
