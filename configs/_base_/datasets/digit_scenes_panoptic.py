# Scenes of handwritten digits with panoptic maps: ten things, three textures as stuff.
_base_ = './digit_scenes_detection.py'

dataset_type = 'mmlayerwise.DigitScenesPanoptic'
num_things_classes = 10
num_stuff_classes = 3

# Neither needs panopticapi, which no package index has.
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='mmlayerwise.LoadPanopticAnnotations'),
    dict(type='mmdet.PackDetInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='mmdet.Resize', scale_factor=1.0),
    dict(type='mmlayerwise.LoadPanopticAnnotations'),
    dict(
        type='mmdet.PackDetInputs',
        meta_keys=(
            'img_id',
            'img_path',
            'seg_map_path',
            'segments_info',
            'ori_shape',
            'img_shape',
            'scale_factor',
        ),
    ),
]

train_dataloader = dict(dataset=dict(type=dataset_type, pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(type=dataset_type, pipeline=test_pipeline))
test_dataloader = val_dataloader

val_evaluator = dict(_delete_=True, type='mmlayerwise.PanopticQuality')
test_evaluator = val_evaluator
