_base_ = [
    'detpro_faster-rcnn_r50_fpn_lvis-to-coco.py',
    '../_base_/class_embeddings/detpro.py',
]

model = dict(
    roi_head=dict(
        bbox_head=dict(
            classifier=dict(class_embeddings='data/coco/prompt/detpro.pth')
        )
    )
)
default_hooks = dict(class_embeddings=_base_.pop('class_embedding_hook'))
