# A narrow Mask R-CNN on scenes of handwritten digits.
_base_ = [
    '../_base_/models/mask_rcnn_r18_narrow.py',
    '../_base_/datasets/digit_scenes_instance.py',
    '../_base_/schedules/quickstart_6e.py',
    '../_base_/detection_runtime.py',
]

default_hooks = dict(logger=dict(interval=20), checkpoint=dict(save_best='coco/segm_mAP'))
custom_hooks = [dict(type='mmlayerwise.SeparationHook', layers='stages', max_samples=1000)]
