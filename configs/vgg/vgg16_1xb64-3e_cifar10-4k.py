# VGG-16 on 4,000 images of CIFAR-10, minutes on a CPU: shows the measure on a real classifier.
_base_ = './vgg16_1xb128-200e_cifar10.py'

train_dataloader = dict(batch_size=64, dataset=dict(indices=4000))
val_dataloader = dict(dataset=dict(indices=1000))
test_dataloader = val_dataloader

max_epochs = 3
train_cfg = dict(max_epochs=max_epochs)
optim_wrapper = dict(optimizer=dict(lr=0.02))
param_scheduler = dict(
    _delete_=True, type='OneCycleLR', eta_max=0.02, by_epoch=False, total_steps=189
)
default_hooks = dict(logger=dict(interval=5), checkpoint=dict(max_keep_ckpts=1))
custom_hooks = [dict(type='mmlayerwise.SeparationHook', layers='auto', max_samples=1000)]
