# CIFAR-10, 128 images a batch, with the usual shifts and flips.
dataset_type = 'CIFAR10'
data_root = '{{$MMLAYERWISE_DATA_ROOT:data}}/cifar-10-batches-py/'
num_classes = 10

# Statistics of the training images' channels in RGB order; the data set gives BGR.
data_preprocessor = dict(
    type='ClassificationDataPreprocessor',
    mean=[125.307, 122.950, 113.865],
    std=[62.993, 62.089, 66.705],
    bgr_to_rgb=True,
)

train_pipeline = [
    dict(type='PaddedRandomCrop', crop_size=32, padding=4),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackClassificationInputs'),
]
test_pipeline = [dict(type='PackClassificationInputs')]

train_dataloader = dict(
    batch_size=128,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(type=dataset_type, data_root=data_root, split='train', pipeline=train_pipeline),
)
val_dataloader = dict(
    batch_size=128,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type=dataset_type, data_root=data_root, split='test', pipeline=test_pipeline),
)
test_dataloader = val_dataloader

val_evaluator = dict(type='Accuracy', topk=(1, 5))
test_evaluator = val_evaluator
