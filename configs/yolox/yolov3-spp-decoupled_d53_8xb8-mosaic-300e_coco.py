# The third step of YOLOX's road map: mosaic and mixup until the last 15 epochs.
_base_ = './yolov3-spp-decoupled_d53_8xb8-300e_coco.py'

train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='MultiImageMixDataset',
        dataset=dict(
            type={{_base_.dataset_type}},
            data_root={{_base_.data_root}},
            ann_file='annotations/instances_train2017.json',
            data_prefix=dict(img='train2017/'),
            pipeline=[
                dict(type='LoadImageFromFile', backend_args=None),
                dict(type='LoadAnnotations', with_bbox=True),
            ],
            filter_cfg=dict(filter_empty_gt=False, min_size=32),
            backend_args=None,
        ),
        pipeline=[
            dict(type='Mosaic', img_scale={{_base_.img_scale}}, pad_val=114.0),
            dict(type='RandomAffine', scaling_ratio_range=(0.1, 2), border=(-320, -320)),
            dict(
                type='MixUp',
                img_scale={{_base_.img_scale}},
                ratio_range=(0.8, 1.6),
                pad_val=114.0,
            ),
            dict(type='YOLOXHSVRandomAug'),
            dict(type='RandomFlip', prob=0.5),
            dict(type='Resize', scale={{_base_.img_scale}}, keep_ratio=True),
            dict(type='Pad', pad_to_square=True, pad_val=dict(img=(114.0, 114.0, 114.0))),
            dict(type='FilterAnnotations', min_gt_bbox_wh=(1, 1), keep_empty=False),
            dict(type='PackDetInputs'),
        ],
    )
)
custom_hooks = [
    dict(type='YOLOXModeSwitchHook', num_last_epochs=15, priority=48),
    {{_base_.sync_norm}},
    {{_base_.average_model}},
]
