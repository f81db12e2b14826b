_base_ = '../_base_/prompt_learning.py'
data_root = 'data/miniature/'
split_file = 'annotations/48_17.json'
max_epochs = 20

# Few regions, so more epochs and a higher rate. No background: in this CLIP's
# space a soft one outweighs the classes, and they become harder to tell apart.
model = dict(clip='pretrained/clip/miniature.pt', temperature=0.07)
train_dataloader = dict(
    dataset=dict(
        neg_fraction=0.0,
        store=data_root + 'proposal_embeddings/miniature',
        dataset=dict(
            type='GZSLCocoDataset',
            data_root=data_root,
            ann_file='annotations/instances_train_48_17_1.json',
            data_prefix=dict(img='train/'),
        ),
    )
)
val_dataloader = dict(
    batch_size=250,
    num_workers=0,
    collate_fn=dict(type='default_collate'),
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='CaptionedCrops',
        data_root=data_root,
        ann_file='clip_crops/names.json',
        crops_file='clip_crops/heldout_crops.npy',
        split_file=split_file,
        test_mode=True,
    ),
)
test_dataloader = val_dataloader
# Learned prompts, and the sentences of ViLD and ViLD* beside them
val_evaluator = [
    dict(
        type='ZeroShotAccuracy',
        split_file=data_root + split_file,
        prefix='learned',
    ),
    dict(
        type='ZeroShotAccuracy',
        split_file=data_root + split_file,
        prefix='vild',
        prediction='pred_label_vild',
    ),
    dict(
        type='ZeroShotAccuracy',
        split_file=data_root + split_file,
        prefix='detpro',
        prediction='pred_label_detpro',
    ),
]
test_evaluator = val_evaluator
optim_wrapper = dict(optimizer=dict(lr=5e-2))
param_scheduler = [
    dict(type='CosineAnnealingLR', T_max=max_epochs, end=max_epochs)
]
train_cfg = dict(max_epochs=max_epochs, val_interval=max_epochs)
val_cfg = dict()
test_cfg = dict()
custom_hooks = [
    dict(type='ExportPromptsHook', out_file=data_root + 'prompt/learned.pth')
]
work_dir = 'work_dirs/miniature/prompt'
