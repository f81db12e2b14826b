_base_ = [
    '../_base_/models/mask-rcnn_r18_fpn_miniature.py',
    '../_base_/datasets/miniature_instance.py',
    '../_base_/schedules/miniature.py',
]
data_root = 'data/miniature/'

model = dict(
    roi_head=dict(
        type='ViLDRoIHead',
        bbox_head=dict(
            type='ViLDEnsembleBBoxHead',
            num_shared_fcs=2,
            classifier=dict(
                type='ClassEmbeddingClassifier',
                class_embeddings=data_root + 'prompt/vild.pth',
                embed_dims=64,
                # The miniature CLIP learns about this, published ones 0.01.
                temperature=0.05,
            ),
            image_branch=dict(num_shared_fcs=2, fc_out_channels=256),
            scoring='ensemble',
        ),
        loss_distill=dict(type='DistillationLoss', loss_weight=0.5),
    )
)

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(
        type='LoadProposalEmbeddings',
        store=data_root + 'proposal_embeddings/miniature',
    ),
    dict(
        type='ProposalBroadcaster',
        transforms=[
            dict(type='Resize', scale=(160, 160), keep_ratio=True),
            dict(type='RandomFlip', prob=0.5),
        ],
    ),
    dict(type='PackDistillInputs'),
]
train_dataloader = dict(
    dataset=dict(
        ann_file='annotations/instances_train_48_17_1.json',
        pipeline=train_pipeline,
    )
)
test_dataloader = dict(
    dataset=dict(ann_file='annotations/instances_val_48_17_1.json')
)
test_evaluator = dict(
    ann_file=data_root + 'annotations/instances_val_48_17_1.json'
)
val_dataloader = None
val_evaluator = None
val_cfg = None

train_cfg = dict(max_iters=900)
param_scheduler = [
    _base_.warmup,
    dict(
        type='CosineAnnealingLR', by_epoch=False, begin=30, end=900, T_max=870
    ),
]
default_hooks = dict(
    class_embeddings=dict(
        type='ClassEmbeddingHook', pretrained='pretrained/clip/miniature.pt'
    )
)
load_from = 'work_dirs/miniature/rpn'  # its last checkpoint
work_dir = 'work_dirs/miniature/vild-ensemble'
