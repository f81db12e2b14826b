_base_ = [
    '../_base_/models/vild_faster-rcnn_r50_fpn.py',
    '../_base_/datasets/coco_48_17_lsj.py',
    '../_base_/class_embeddings/vild.py',
    '../_base_/schedules/vild_90k.py',
]
data_root = 'data/coco/'

model = dict(
    roi_head=dict(
        bbox_head=dict(
            num_classes=65,
            classifier=dict(class_embeddings=data_root + 'prompt/vild.pth'),
        )
    )
)
default_hooks = dict(class_embeddings=_base_.pop('class_embedding_hook'))
