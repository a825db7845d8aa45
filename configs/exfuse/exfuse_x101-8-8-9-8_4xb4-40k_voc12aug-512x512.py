# Blocks moved to the early stages, pretrained with semantic supervision there by
# semantic-supervision_x101-8-8-9-8_1xb128-200e_cifar10-224px.py or the like on larger data.
_base_ = './exfuse_r101_4xb4-40k_voc12aug-512x512.py'

checkpoint = 'work_dirs/semantic-supervision_x101-8-8-9-8_1xb128-200e_cifar10-224px/epoch_200.pth'
model = dict(
    backbone=dict(
        _delete_=True,
        type='mmlayerwise.RearrangedResNeXt',
        stage_blocks=(8, 8, 9, 8),
        groups=32,
        base_width=4,
        base_channels=64,
        stem_channels=64,
        norm_cfg=dict(type='BN', requires_grad=True),
        init_cfg=dict(type='Pretrained', checkpoint=checkpoint, prefix='backbone.'),
    ),
)
