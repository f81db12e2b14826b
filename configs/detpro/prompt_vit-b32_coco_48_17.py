_base_ = '../_base_/prompt_learning.py'
data_root = 'data/coco/'

model = dict(clip='ViT-B/32')
train_dataloader = dict(
    dataset=dict(
        store=data_root + 'proposal_embeddings/ViT-B-32',
        dataset=dict(
            type='GZSLCocoDataset',
            data_root=data_root,
            ann_file='annotations/instances_train2017_48_17_1.json',
            data_prefix=dict(img='train2017/'),
        ),
    )
)
custom_hooks = [
    dict(type='ExportPromptsHook', out_file=data_root + 'prompt/learned.pth')
]
