_base_ = 'vild-ensemble_mask-rcnn_r18_fpn_miniature.py'

# DetPro's 74 sentences in place of ViLD's 63
model = dict(
    roi_head=dict(
        bbox_head=dict(
            classifier=dict(
                class_embeddings=_base_.data_root + 'prompt/detpro.pth'
            )
        )
    )
)
default_hooks = dict(class_embeddings=dict(templates='detpro'))
work_dir = 'work_dirs/miniature/vild-star'
