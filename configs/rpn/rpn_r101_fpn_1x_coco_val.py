_base_ = 'rpn_r101_fpn_1x_coco_48_17.py'

# Dump the proposals of the val images:
#   sh tools/dist_test.sh THIS CHECKPOINT 8 \
#       --out data/coco/proposals/rpn_r101_fpn_coco_val_48_17.pkl
test_evaluator = dict(type='ProposalDump')
