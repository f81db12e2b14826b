_base_ = [
    'detpro_faster-rcnn_r50_fpn_soco-20e_coco_48_17.py',
    '../_base_/class_embeddings/detpro.py',
]

# DetPro with 74 sentences written by hand in place of the learned prompts
model = dict(
    roi_head=dict(
        bbox_head=dict(
            classifier=dict(
                class_embeddings=_base_.data_root + 'prompt/detpro.pth'
            )
        )
    )
)
default_hooks = dict(class_embeddings=_base_.pop('class_embedding_hook'))
