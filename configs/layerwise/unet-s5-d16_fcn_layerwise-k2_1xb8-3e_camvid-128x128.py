# U-Net whose first two convolutions are learned forward from the features of pixels.
_base_ = '../unet/unet-s5-d16_fcn_1xb8-150i_camvid-128x128.py'

# The loop counts epochs, so the data have to end.
train_dataloader = dict(sampler=dict(_delete_=True, type='DefaultSampler', shuffle=True))
max_epochs = 3
train_cfg = dict(
    _delete_=True,
    type='mmlayerwise.LayerwiseTrainLoop',
    num_forward_layers=2,
    max_epochs=max_epochs,
    stop=dict(type='mmlayerwise.SeparationStopRule', max_epochs=5),
)
param_scheduler = [
    dict(
        type='OneCycleLR',
        eta_max=2e-3,
        total_steps=max_epochs,
        by_epoch=True,
        convert_to_iter_based=True,
    )
]
default_hooks = dict(checkpoint=dict(by_epoch=True, interval=1))
log_processor = dict(by_epoch=True)
