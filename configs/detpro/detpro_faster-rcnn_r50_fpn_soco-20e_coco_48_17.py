_base_ = [
    '../_base_/models/vild-star_faster-rcnn_r50_fpn.py',
    '../_base_/datasets/coco_48_17_detection.py',
    '../_base_/schedules/detpro_20e.py',
]
data_root = 'data/coco/'

model = dict(
    roi_head=dict(
        bbox_head=dict(
            num_classes=65,
            # Of learned prompts: tools/class_embeddings.py learned
            classifier=dict(class_embeddings=data_root + 'prompt/learned.pth'),
        )
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
    dict(
        type='ProposalBroadcaster',
        transforms=[
            dict(
                type='RandomChoiceResize',
                scales=[(1333, size) for size in range(640, 801, 32)],
                keep_ratio=True,
            ),
            dict(type='RandomFlip', prob=0.5),
        ],
    ),
    dict(type='PackDistillInputs'),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
load_from = 'pretrained/soco/soco_star_mask_rcnn_r50_fpn_400e.pth'
