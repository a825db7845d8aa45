# VD-CNN of depth 9 on DBpedia.
_base_ = [
    '../_base_/models/vdcnn9.py',
    '../_base_/datasets/dbpedia.py',
    '../_base_/schedules/text_1xb128-15e.py',
    '../_base_/default_runtime.py',
]

model = dict(head=dict(num_classes=14))
