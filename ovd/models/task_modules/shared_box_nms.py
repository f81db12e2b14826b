"""To be replaced."""
from mmdet.models.layers import multiclass_nms as shared_box_nms  # noqa: F401
