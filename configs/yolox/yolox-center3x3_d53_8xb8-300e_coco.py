# The fifth step of YOLOX's road map: the cells around the centre learn the object, too.
_base_ = './yolox-center_d53_8xb8-300e_coco.py'

model = dict(train_cfg=dict(assigner=dict(radius=1)))
