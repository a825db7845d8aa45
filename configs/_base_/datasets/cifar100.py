# CIFAR-100, 128 images a batch, with the usual shifts and flips.
_base_ = './cifar10.py'

dataset_type = 'CIFAR100'
data_root = '{{$MMLAYERWISE_DATA_ROOT:data}}/cifar-100-python/'
num_classes = 100

# Statistics of the training images' channels in RGB order; the data set gives BGR.
data_preprocessor = dict(mean=[129.304, 124.070, 112.434], std=[68.170, 65.392, 70.418])

train_dataloader = dict(dataset=dict(type=dataset_type, data_root=data_root))
val_dataloader = dict(dataset=dict(type=dataset_type, data_root=data_root))
test_dataloader = val_dataloader
