# The compressed U-Net: levels of 16, 32 and 64 channels, the last with one more convolution. With
# one input channel, four classes and the statistics of the normalisations: 155,268 parameters.
_base_ = '../compression/unet-16-256_1xb8-40k_camvid-352x352.py'

model = dict(
    backbone=dict(
        num_stages=3,
        strides=(1, 1, 1),
        enc_num_convs=(2, 2, 3),
        dec_num_convs=(2, 2),
        downsamples=(True, True),
        enc_dilations=(1, 1, 1),
        dec_dilations=(1, 1),
    ),
    decode_head=dict(in_index=2),
)
