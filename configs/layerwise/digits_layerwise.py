# The quickstart classifier with its first two layers learned forward.
_base_ = '../quickstart/classification.py'

train_cfg = dict(type='mmlayerwise.LayerwiseTrainLoop', num_forward_layers=2, num_samples=1000)
