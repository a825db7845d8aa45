# Fashion-MNIST as colour images of 32x32, 128 a batch, with shifts and flips.
_base_ = './cifar10.py'

dataset_type = 'FashionMNIST'
data_root = '{{$MMLAYERWISE_DATA_ROOT:data}}/fashion_mnist/'

# The three channels are the same.
data_preprocessor = dict(mean=[72.94] * 3, std=[90.02] * 3)

# A border of two pixels makes 32x32 of 28x28.
train_pipeline = [
    dict(type='PaddedRandomCrop', crop_size=32, padding=4),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackClassificationInputs'),
]
test_pipeline = [
    dict(type='PaddedRandomCrop', crop_size=32, padding=2),
    dict(type='PackClassificationInputs'),
]

train_dataloader = dict(
    dataset=dict(
        type=dataset_type, data_root=data_root, color_type='color', pipeline=train_pipeline
    )
)
val_dataloader = dict(
    dataset=dict(type=dataset_type, data_root=data_root, color_type='color', pipeline=test_pipeline)
)
test_dataloader = val_dataloader
