# EfficientDet-D6: D5 with a larger backbone and more channels, on images of the same size.
_base_ = './efficientdet-d5_effb5_bifpn_8xb16-crop1280-300e_coco.py'

checkpoint = 'efficientnet-b6_3rdparty_8xb32-aa_in1k_20220119-45b03310.pth'
model = dict(
    backbone=dict(arch='b6', init_cfg=dict(checkpoint=_base_.weights + checkpoint)),
    # Plain sums, for stability.
    neck=dict(in_channels=[72, 200, 576], out_channels=384, num_cells=8, weighted=False),
    bbox_head=dict(in_channels=384, stacked_convs=5),
)
