_base_ = [
    '../_base_/models/exfuse_r101.py',
    '../_base_/datasets/camvid.py',
    '../_base_/schedules/camvid_40k.py',
]

model = dict(
    data_preprocessor=dict(size=(352, 352)),
    backbone=dict(depth=50, init_cfg=dict(checkpoint='torchvision://resnet50')),
    decode_head=dict(num_classes=11),
)
