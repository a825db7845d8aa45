# Starts from FCN-32s, at a rate a hundred times smaller.
_base_ = './fcn-32s_vgg16_1xb20-80k_voc12aug-512x512.py'

model = dict(
    backbone=dict(out_indices=(3, 5)),
    decode_head=dict(in_channels=(4096, 512), in_index=(1, 0)),
)
load_from = 'work_dirs/fcn-32s_vgg16_1xb20-80k_voc12aug-512x512/iter_80000.pth'
optim_wrapper = dict(optimizer=dict(lr=1e-6))
