_base_ = [
    '../_base_/models/vild-star_mask-rcnn_r50_fpn.py',
    '../_base_/datasets/lvis_v1_866_337_instance.py',
    '../_base_/schedules/detpro_20e.py',
]
data_root = 'data/lvis_v1/'

model = dict(
    roi_head=dict(
        bbox_head=dict(
            num_classes=1203,
            # Of learned prompts: tools/class_embeddings.py learned
            classifier=dict(class_embeddings=data_root + 'prompt/learned.pth'),
        ),
        mask_head=dict(num_classes=1203),
    )
)

train_pipeline = [
    *_base_.train_pipeline[:2],
    # A store made with --cfg-options train_cfg.boxes.num_max=1000
    dict(
        type='LoadProposalEmbeddings',
        store=data_root + 'proposal_embeddings/ViT-B-32',
        num_max=1000,
    ),
    dict(type='ProposalBroadcaster', transforms=_base_.train_pipeline[2:-1]),
    dict(type='PackDistillInputs'),
]
train_dataloader = dict(dataset=dict(dataset=dict(pipeline=train_pipeline)))
load_from = 'pretrained/soco/soco_star_mask_rcnn_r50_fpn_400e.pth'
