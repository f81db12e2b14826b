_base_ = '../_base_/default_runtime.py'
data_root = 'data/miniature/'

# Embed the proposals of the training images: python tools/train.py THIS
runner_type = 'ExtractionRunner'
model = dict(
    type='ProposalFeatureExtractor',
    clip='pretrained/clip/miniature.pt',
    crop_scales=(1.0, 1.5))

train_dataloader = dict(
    num_workers=1,
    dataset=dict(
        type='GZSLCocoDataset',
        data_root=data_root,
        ann_file='annotations/instances_train_48_17_1.json',
        data_prefix=dict(img='train/'),
        test_mode=True,
        pipeline=[dict(type='LoadImageFromFile')]))
train_cfg = dict(
    type='ExtractionLoop',
    proposals=data_root + 'proposals/rpn_train_48_17.safetensors',
    store=data_root + 'proposal_embeddings/miniature',
    images_per_shard=100,
    boxes=dict(num_max=20))
work_dir = 'work_dirs/miniature/proposal_embeddings'
