# YOLOv4 with self-adversarial training: in half of the iterations behind the warm-up the detector
# first changes the images so that it sees no objects there.
_base_ = './yolov4_csp53_8xb8-mosaic-273e_coco.py'

custom_hooks = [dict(type='mmlayerwise.SelfAdversarialTrainingHook', prob=0.5, begin=1000)]
