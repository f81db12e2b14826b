_base_ = '../_base_/extraction.py'
data_root = 'data/miniature/'

# CLIP embeddings of the proposals of the training images, and of their
# annotated boxes, from which DetPro learns its prompts.
model = dict(
    clip='pretrained/clip/miniature.pt', batch_size=256, precision='fp32'
)
train_dataloader = dict(
    num_workers=1,
    dataset=dict(
        type='GZSLCocoDataset',
        data_root=data_root,
        ann_file='annotations/instances_train_48_17_1.json',
        data_prefix=dict(img='train/'),
    ),
)
train_cfg = dict(
    proposals=data_root + 'proposals/rpn_train_48_17.safetensors',
    store=data_root + 'proposal_embeddings/miniature',
    boxes=dict(num_max=20, ground_truth=True),
)
work_dir = 'work_dirs/miniature/proposal_embeddings'
