_base_ = '../_base_/extraction.py'
data_root = 'data/lvis_v1/'

# CLIP embeddings of the proposals of LVIS's training images, 866/337, and of
# their annotated boxes, from which DetPro learns its prompts.
model = dict(clip='ViT-B/32')
train_dataloader = dict(
    dataset=dict(
        type='GZSLLVISV1Dataset',
        data_root=data_root,
        ann_file='annotations/lvis_v1_train_866_337_1.json',
        data_prefix=dict(img=''),
    )
)
train_cfg = dict(
    proposals=data_root + 'proposals/rpn_r101_fpn_lvis_v1_train_866_337.pkl',
    store=data_root + 'proposal_embeddings/ViT-B-32',
    boxes=dict(ground_truth=True),
)
work_dir = 'work_dirs/proposal_embeddings_lvis_v1'
