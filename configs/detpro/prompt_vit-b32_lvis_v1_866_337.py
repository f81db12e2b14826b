_base_ = '../_base_/prompt_learning.py'
data_root = 'data/lvis_v1/'

# DetPro's own training data serve as well as a store:
# python tools/train.py configs/detpro/prompt_vit-b32_lvis_v1_866_337.py \
#     --cfg-options train_dataloader.dataset.store=None \
#     +train_dataloader.dataset.data_file=train_data.pth
model = dict(clip='ViT-B/32')
train_dataloader = dict(
    dataset=dict(
        store=data_root + 'proposal_embeddings/ViT-B-32',
        dataset=dict(
            type='GZSLLVISV1Dataset',
            data_root=data_root,
            ann_file='annotations/lvis_v1_train_866_337_1.json',
            data_prefix=dict(img=''),
        ),
    )
)
custom_hooks = [
    dict(type='ExportPromptsHook', out_file=data_root + 'prompt/learned.pth')
]
