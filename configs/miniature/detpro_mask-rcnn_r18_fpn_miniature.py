_base_ = 'vild-ensemble_mask-rcnn_r18_fpn_miniature.py'

# Learned prompts in place of sentences: prompt_rn_miniature.py comes first.
model = dict(
    roi_head=dict(
        bbox_head=dict(
            classifier=dict(
                class_embeddings=_base_.data_root + 'prompt/learned.pth'
            )
        )
    )
)
default_hooks = dict(_base_.default_hooks, _delete_=True)
default_hooks.pop('class_embeddings')  # no hook makes this file
work_dir = 'work_dirs/miniature/detpro'
