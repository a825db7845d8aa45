# Starts from FCN-16s.
_base_ = './fcn-16s_vgg16_1xb20-80k_voc12aug-512x512.py'

model = dict(
    backbone=dict(out_indices=(2, 3, 5)),
    decode_head=dict(in_channels=(4096, 512, 256), in_index=(2, 1, 0)),
)
load_from = 'work_dirs/fcn-16s_vgg16_1xb20-80k_voc12aug-512x512/iter_80000.pth'
