_base_ = 'rpn_r101_fpn_1x_coco_48_17.py'

# Dump the proposals of the training images:
#   sh tools/dist_test.sh THIS CHECKPOINT 8 \
#       --out data/coco/proposals/rpn_r101_fpn_coco_train_48_17.pkl
ann_file = 'annotations/instances_train2017_48_17_1.json'
test_dataloader = dict(
    dataset=dict(ann_file=ann_file, data_prefix=dict(img='train2017/'))
)
test_evaluator = dict(
    _delete_=True,
    type='ProposalDump',
    ann_file='data/coco/' + ann_file,
    recall_ann_file='data/coco/annotations/instances_train2017.json',
)
