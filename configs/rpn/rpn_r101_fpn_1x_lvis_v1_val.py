_base_ = 'rpn_r101_fpn_1x_lvis_v1_866_337.py'

# Dump the proposals of the val images:
#   sh tools/dist_test.sh THIS CHECKPOINT 8 \
#       --out data/lvis_v1/proposals/rpn_r101_fpn_lvis_v1_val_866_337.pkl
test_evaluator = dict(type='ProposalDump')
