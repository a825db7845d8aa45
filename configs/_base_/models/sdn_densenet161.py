# Three stacked units behind the first three blocks of DenseNet-161: 238,958,686 parameters with 21
# classes.
_base_ = './segmentor.py'
model = dict(
    backbone=dict(
        type='mmlayerwise.DenseNet',
        depth=161,
        out_indices=(0, 1, 2),
        final_norm=False,
        init_cfg=dict(
            type='Pretrained',
            checkpoint='https://download.pytorch.org/models/densenet161-8d451a50.pth',
        ),
    ),
    decode_head=dict(
        type='mmlayerwise.SDNHead',
        in_channels=[384, 768, 2112],
        num_units=3,
        unit_channels=[576, 768, 1024],
        growth_rate=48,
        down_layers=(2, 4),
        up_layers=(2, 2),
    ),
)
