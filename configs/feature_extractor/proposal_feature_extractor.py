_base_ = '../_base_/extraction.py'
data_root = 'data/coco/'

# CLIP embeddings of the proposals of COCO's training images, 48/17, and of
# their annotated boxes, from which DetPro learns its prompts.
model = dict(clip='ViT-B/32')
train_dataloader = dict(
    dataset=dict(
        type='GZSLCocoDataset',
        data_root=data_root,
        ann_file='annotations/instances_train2017_48_17_1.json',
        data_prefix=dict(img='train2017/'),
    )
)
train_cfg = dict(
    proposals=data_root + 'proposals/rpn_r101_fpn_coco_train_48_17.pkl',
    store=data_root + 'proposal_embeddings/ViT-B-32',
    boxes=dict(ground_truth=True),
)
work_dir = 'work_dirs/proposal_embeddings_coco'
