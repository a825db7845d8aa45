# Second stage: proposals, with the labels of all their pixels.
_base_ = './deconvnet-stage1_vgg16-bn_1xb64-20k_voc12aug-224x224.py'

train_pipeline = [
    *_base_.load,
    dict(type='mmlayerwise.LoadVOCBoxes'),
    _base_.load_proposals,
    dict(type='mmlayerwise.ProposalCrop', overlap=0.5, context=1.2, image_fill=_base_.mean_color),
    *_base_.augment,
]
dataset_train, dataset_aug = _base_.dataset_train, _base_.dataset_aug
dataset_train.pipeline = dataset_aug.pipeline = train_pipeline
train_dataloader = dict(dataset=dict(datasets=[dataset_train, dataset_aug]))
load_from = 'work_dirs/deconvnet-stage1_vgg16-bn_1xb64-20k_voc12aug-224x224/iter_20000.pth'
max_iters = 40000
train_cfg = dict(max_iters=max_iters)
