_base_ = 'default_runtime.py'

# Learn DetPro's prompts from embedded boxes: python tools/train.py CONFIG.
# Configs add model.clip, the dataset and its store, and where the hook writes
# to. DetPro's stores have 1,000 proposals of an image: those that were made
# with --cfg-options train_cfg.boxes.num_max=1000.
iou_ranges = ((0.5, 0.6), (0.6, 0.7), (0.7, 0.8), (0.8, 0.9), (0.9, 1.1))
max_epochs = 6

model = dict(
    type='PromptLearner',
    num_groups=len(iou_ranges),
    context_length=8,
    temperature=0.01,
)
train_dataloader = dict(
    batch_size=512,  # of all processes together
    num_workers=0,  # all of it is in memory
    sampler=dict(type='DefaultSampler', shuffle=True),
    batch_sampler=dict(type='GroupBatchSampler'),
    collate_fn=dict(type='keep_batch'),
    dataset=dict(
        type='RegionEmbeddings',
        iou_ranges=iou_ranges,
        neg_range=(0.1, 0.5),
        neg_fraction=0.1,
    ),
)

# Without momentum and weight decay a batch changes its own context alone.
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=2e-3))
param_scheduler = [
    dict(type='CosineAnnealingLR', T_max=max_epochs, end=max_epochs)
]
train_cfg = dict(
    type='EpochBasedTrainLoop', max_epochs=max_epochs, val_interval=1
)
