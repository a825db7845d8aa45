# ExFuse on ResNet-101: 90,559,460 parameters with 21 classes.
_base_ = './segmentor_r101.py'

model = dict(
    decode_head=dict(
        type='mmlayerwise.ExFuseHead', kernel_size=15, window=3, embedding_loss_weight=0.4
    ),
)
