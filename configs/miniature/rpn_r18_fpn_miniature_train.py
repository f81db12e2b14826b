_base_ = 'rpn_r18_fpn_miniature.py'

# Dump proposals of the training images: python tools/test.py THIS CKPT --out F
test_dataloader = dict(
    dataset=dict(
        ann_file='annotations/instances_train_48_17_1.json',
        data_prefix=dict(img='train/'),
    )
)
test_evaluator = dict(
    _delete_=True,
    type='ProposalDump',
    ann_file='data/miniature/annotations/instances_train_48_17_1.json',
    recall_ann_file='data/miniature/annotations/instances_train.json',
    max_dets=_base_.max_dets,
)
