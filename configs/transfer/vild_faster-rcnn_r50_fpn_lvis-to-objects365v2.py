# ViLD has one head: what it learned from CLIP shows in its weights alone.
_base_ = 'vild-text_faster-rcnn_r50_fpn_lvis-to-objects365v2.py'
