_base_ = 'vild-text_mask-rcnn_r50_fpn_lsj-180k_lvis_v1_866_337.py'

# One head learns from names and from CLIP's embeddings of proposals.
model = dict(
    roi_head=dict(
        type='ViLDRoIHead',
        loss_distill=dict(type='DistillationLoss', loss_weight=0.5),
    )
)

train_pipeline = [
    *_base_.train_pipeline[:2],
    dict(
        type='LoadProposalEmbeddings',
        store=_base_.data_root + 'proposal_embeddings/ViT-B-32',
        num_max=300,
    ),
    dict(
        type='DistilledBoxBroadcaster', transforms=_base_.train_pipeline[2:-1]
    ),
    dict(type='PackDistillInputs'),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
