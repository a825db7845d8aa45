import pytest

from mmlayerwise.compression.thinning import largest_removal, uniform_removal


@pytest.mark.parametrize('width', [1, 2, 5, 16, 64])
@pytest.mark.parametrize('share', [0, 0.1, 0.5, 0.93, 1])
def test_finds_what_a_steady_index_allows(width, share):
    allowed = min(int(share * width), width - 1)
    asked = []

    def holds(count: int) -> bool:
        asked.append(count)
        return count <= allowed

    assert largest_removal(width, holds) == allowed
    assert all(0 < count < width for count in asked)


def test_finest_step_of_a_wide_layer_is_a_quarter_of_a_chunk():
    found = largest_removal(512, lambda count: count <= 299)
    assert 299 - 8 < found <= 299


def test_takes_far_fewer_measurements_than_one_a_chunk():
    asked = []
    largest_removal(512, lambda count: asked.append(count) or count <= 400)
    assert len(asked) <= 10


def test_known_removals_are_not_tried_again():
    asked = []
    assert largest_removal(32, lambda count: asked.append(count) or count <= 12, removed=10) == 12
    assert min(asked) > 10


def test_uniform_share_leaves_a_channel_everywhere():
    assert uniform_removal([16, 64, 3], 0.25) == [12, 48, 2]
    assert uniform_removal([16, 1], 0.0) == [15, 0]
    assert uniform_removal([16, 1], 1.0) == [0, 0]
