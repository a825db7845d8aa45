import pytest
import torch
import torch.nn.functional as F

pytest.importorskip('mmdet')

from mmlayerwise.models.necks import YOLOv4PAN


def test_paths_down_and_up():
    torch.manual_seed(0)
    neck = YOLOv4PAN((8, 16, 32), kernel_sizes=(3, 5)).eval()
    fine, middle, coarse = (
        torch.randn(1, 8, 8, 12),
        torch.randn(1, 16, 4, 6),
        torch.randn(1, 32, 2, 3),
    )
    levels = neck((fine, middle, coarse))

    block = neck.spp_block
    third = block.conv3.conv1(block.conv2(block.conv1(coarse)))
    # As in darknet's config, the largest window comes first and the input last.
    pooled = [F.max_pool2d(third, size, 1, size // 2) for size in (5, 3)]
    top = block.conv5(block.conv4(block.conv3.conv2(torch.cat([*pooled, third], 1))))
    down = [top]
    for index, feature in enumerate((middle, fine)):
        enlarged = neck.up_convs[index](down[-1]).repeat_interleave(2, 2).repeat_interleave(2, 3)
        joined = torch.cat([neck.lateral_convs[index](feature), enlarged], 1)
        down.append(neck.top_down_blocks[index](joined))
    up = [down[2]]
    for index in range(2):
        joined = torch.cat([neck.down_convs[index](up[-1]), down[1 - index]], 1)
        up.append(neck.bottom_up_blocks[index](joined))
    for level, expected in zip(levels, up[::-1], strict=True):
        torch.testing.assert_close(level, expected)
    assert [tuple(level.shape) for level in levels] == [(1, 16, 2, 3), (1, 8, 4, 6), (1, 4, 8, 12)]
