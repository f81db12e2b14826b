# The name that DetPro's users know it by
_base_ = '../detpro/detpro_mask-rcnn_r50_fpn_soco-20e_lvis_v1_866_337.py'
