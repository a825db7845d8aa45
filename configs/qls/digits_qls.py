# The quickstart classifier with its first convolution learned by quasi least squares.
_base_ = '../quickstart/classification.py'

custom_hooks = [
    dict(type='mmlayerwise.QLSInitHook', num_samples=1000),
    dict(type='mmlayerwise.SeparationHook', layers='stages', max_samples=500, initial=True),
]
