_base_ = [
    'detpro_cascade-mask-rcnn_r50_fpn_imagenet-1x_lvis_v1_866_337.py',
    '../_base_/class_embeddings/detpro.py',
]

# DetPro with 74 sentences written by hand in place of the learned prompts
model = dict(
    roi_head=dict(
        bbox_head=[
            dict(
                head,
                classifier=dict(
                    head.classifier,
                    class_embeddings=_base_.data_root + 'prompt/detpro.pth',
                ),
            )
            for head in _base_.model.roi_head.bbox_head
        ]
    )
)
default_hooks = dict(class_embeddings=_base_.pop('class_embedding_hook'))
