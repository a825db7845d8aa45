# AG's News as characters, 128 texts a batch.
dataset_type = 'AGNews'
data_root = '{{$MMLAYERWISE_DATA_ROOT:data}}/ag_news_csv/'
num_classes = 4

text_length = 1014
train_pipeline = [
    dict(type='QuantizeCharacters', length=text_length),
    dict(type='PackTextInputs'),
]
test_pipeline = train_pipeline

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

val_evaluator = dict(type='Accuracy')
test_evaluator = val_evaluator
