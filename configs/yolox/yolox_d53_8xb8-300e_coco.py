# YOLOX on Darknet-53: the sixth step of the road map. SimOTA chooses cells by their predictions.
_base_ = './yolox-center3x3_d53_8xb8-300e_coco.py'

model = dict(train_cfg=dict(assigner=dict(_delete_=True, type='SimOTAAssigner', center_radius=2.5)))
