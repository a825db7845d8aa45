_base_ = './parsenet-early_vgg16_1xb8-20k_voc12aug-512x512.py'

model = dict(decode_head=dict(fusion='late'))
