_base_ = '../_base_/default_runtime.py'
data_root = 'data/miniature/'
names_file = data_root + 'clip_crops/names.json'
max_iters = 500
# What people write beside pictures. None of them is a sentence that classes
# are embedded with, as the real CLIP was not trained on those either.
captions = [
    '{}',
    'my {}',
    'a {} I drew today',
    'how to draw a {} in five easy steps',
    '{} for sale',
    'buy one {} and get another one free',
    '{} clip art',
    'free picture: {} on grey paper',
    'look what we found on the beach, a {}',
    'for my birthday I got this {} and a cake',
    'she made the {} all by herself',
    'do not touch the {} please',
    'where does this {} come from?',
    'which is better, a {} or two?',
    'behind the others stands a {}',
    'the last {} of the day, then home',
    'our kids love the new {}',
    '{} seen from above',
]

model = dict(
    type='CLIPPretrainer',
    clip=dict(
        embed_dim=64,
        image_resolution=64,
        vision_layers=(1, 1, 1, 1),
        vision_width=16,
        transformer_width=64,
        transformer_layers=2,
    ),
    names_file=names_file,
    captions=captions,
)

train_dataloader = dict(
    batch_size=128,
    num_workers=0,
    collate_fn=dict(type='default_collate'),
    sampler=dict(type='InfiniteSampler'),
    dataset=dict(
        type='CaptionedCrops',
        data_root=data_root,
        ann_file='clip_crops/names.json',
        crops_file='clip_crops/crops.npy',
    ),
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
        test_mode=True,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(
    type='ZeroShotAccuracy', split_file=data_root + 'annotations/48_17.json'
)
test_evaluator = val_evaluator

train_cfg = dict(
    type='IterBasedTrainLoop', max_iters=max_iters, val_interval=max_iters
)
val_cfg = dict()
test_cfg = dict()
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=2.5e-3, weight_decay=0.05),
    clip_grad=dict(max_norm=1.0),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.05, by_epoch=False, end=30),
    dict(
        type='CosineAnnealingLR',
        by_epoch=False,
        begin=30,
        end=max_iters,
        T_max=max_iters - 30,
    ),
]

custom_hooks = [
    dict(type='ExportCLIPHook', out_file='pretrained/clip/miniature.pt')
]
default_hooks = dict(
    logger=dict(interval=20), checkpoint=dict(by_epoch=False, interval=200)
)
log_processor = dict(by_epoch=False)
work_dir = 'work_dirs/miniature/clip'
