# EfficientNet-B0 as for ImageNet: it has no form for 32x32 images, and is usually fine-tuned on
# enlarged ones.
_base_ = [
    '../_base_/models/efficientnet_b0.py',
    '../_base_/datasets/cifar10_224px.py',
    '../_base_/schedules/cifar10_1xb128-200e.py',
    '../_base_/default_runtime.py',
]

model = dict(head=dict(num_classes=10))
