# CenterNet on DLA-34 with deformable convolutions on the way up, as in the paper.
_base_ = 'mmdet::centernet/centernet_r18_8xb16-crop512-140e_coco.py'
custom_imports = dict(imports=['mmlayerwise'], allow_failed_imports=False)

model = dict(
    type='mmlayerwise.FlipTestCenterNet',
    data_preprocessor=dict(
        mean=[104.04, 113.985, 119.85], std=[73.695, 69.87, 70.89], bgr_to_rgb=False
    ),
    backbone=dict(_delete_=True, type='mmlayerwise.DLANet', channels=[16, 32, 64, 128, 256, 512]),
    neck=dict(_delete_=True, type='mmlayerwise.DLAUp', in_channels=[64, 128, 256, 512]),
    bbox_head=dict(in_channels=64, feat_channels=256),
    test_cfg=dict(flip_test=True),
)
optim_wrapper = dict(_delete_=True, type='OptimWrapper', optimizer=dict(type='Adam', lr=5e-4))
