# YOLO9000's joint training: boxes of COCO, and four times as many images that have but one word of
# the tree, in folders named after it: data/image_labels/dog/*.jpg, data/image_labels/animal/*.jpg.
_base_ = './yolo9000_d19_8xb8-ms-160e_coco-tree.py'

image_label_pipeline = [
    dict(type='LoadImageFromFile', backend_args=None),
    dict(type='mmlayerwise.LoadImageLabel'),
    dict(type='Resize', scale=_base_.input_size, keep_ratio=True),
    dict(type='Pad', size=_base_.input_size),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PhotoMetricDistortion'),
    dict(
        type='PackDetInputs',
        meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor', 'image_level'),
    ),
]
train_dataloader = dict(
    batch_sampler=None,  # images with a label have no size in their annotation to sort by
    dataset=dict(
        _delete_=True,
        type='mmlayerwise.JointDetClsDataset',
        ratio=4.0,
        detection={{_base_.train_dataloader.dataset}},
        classification=dict(
            type='mmlayerwise.ImageLevelDataset',
            tree='{{fileDirname}}/coco.tree',
            data_root='data/',
            data_prefix=dict(img='image_labels/'),
            pipeline=image_label_pipeline,
        ),
    ),
)
