# Aeroplanes, cats and birds of CIFAR-10.
_base_ = './cifar10.py'

classes = ('airplane', 'cat', 'bird')
num_classes = 3
train_dataloader = dict(dataset=dict(metainfo=dict(classes=classes)))
val_dataloader = dict(dataset=dict(metainfo=dict(classes=classes)))
test_dataloader = val_dataloader
val_evaluator = dict(topk=(1,))
test_evaluator = val_evaluator
