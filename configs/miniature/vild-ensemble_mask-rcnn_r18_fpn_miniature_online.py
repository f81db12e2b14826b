_base_ = 'vild-ensemble_mask-rcnn_r18_fpn_miniature.py'

# CLIP embeds the proposals while ViLD learns from them: no store is made.
train_pipeline = _base_.train_pipeline
train_pipeline[2] = dict(
    type='LoadProposalsToEmbed',
    proposals='data/miniature/proposals/rpn_train_48_17.safetensors',
    boxes=dict(num_max=20),
)
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
default_hooks = dict(
    image_embeddings=dict(
        type='ImageEmbeddingHook', clip='pretrained/clip/miniature.pt'
    )
)
work_dir = 'work_dirs/miniature/vild-ensemble_online'
