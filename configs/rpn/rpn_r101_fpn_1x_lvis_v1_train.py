_base_ = 'rpn_r101_fpn_1x_lvis_v1_866_337.py'

# Dump the proposals of the training images:
#   sh tools/dist_test.sh THIS CHECKPOINT 8 \
#       --out data/lvis_v1/proposals/rpn_r101_fpn_lvis_v1_train_866_337.pkl
ann_file = 'annotations/lvis_v1_train_866_337_1.json'
test_dataloader = dict(dataset=dict(ann_file=ann_file))
test_evaluator = dict(
    _delete_=True,
    type='ProposalDump',
    ann_file='data/lvis_v1/' + ann_file,
    recall_ann_file='data/lvis_v1/annotations/lvis_v1_train.json',
)
