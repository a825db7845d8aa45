# The handwritten digits that scikit-learn ships, 8x8 grey, enlarged to 16x16.
dataset_type = 'mmlayerwise.Digits'
num_classes = 10

data_preprocessor = dict(type='mmlayerwise.ClassificationDataPreprocessor', mean=[78.0], std=[95.7])

train_pipeline = [
    dict(type='Resize', scale=(16, 16)),
    dict(type='mmlayerwise.PaddedRandomCrop', crop_size=16, padding=2),
    dict(type='mmlayerwise.PackClassificationInputs'),
]
test_pipeline = [
    dict(type='Resize', scale=(16, 16)),
    dict(type='mmlayerwise.PackClassificationInputs'),
]

train_dataloader = dict(
    batch_size=64,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(type=dataset_type, split='train', pipeline=train_pipeline),
)
val_dataloader = dict(
    batch_size=100,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type=dataset_type, split='test', pipeline=test_pipeline),
)
test_dataloader = val_dataloader

val_evaluator = dict(type='mmlayerwise.Accuracy', topk=(1,))
test_evaluator = val_evaluator
