_base_ = 'mmdet::_base_/models/mask-rcnn_r50_fpn.py'

# ViLD* and DetPro, which differ in nothing but their class embeddings, as
# dyabel/detpro has them: SoCo's weights, so its style and norm layers; 4
# convolutions and 1 fully connected layer. Configs add the class embeddings,
# num_classes and load_from.
norm_cfg = dict(type='SyncBN', requires_grad=True)
box_branch = dict(num_shared_convs=4, num_shared_fcs=1, norm_cfg=norm_cfg)
projection_init = dict(
    type='Xavier', distribution='uniform', override=dict(name='fc_cls')
)

model = dict(
    backbone=dict(
        frozen_stages=-1, norm_cfg=norm_cfg, style='caffe', init_cfg=None
    ),
    neck=dict(norm_cfg=norm_cfg),
    roi_head=dict(
        type='ViLDRoIHead',
        bbox_head=dict(
            type='ViLDEnsembleBBoxHead',
            **box_branch,
            reg_class_agnostic=True,
            classifier=dict(
                type='ClassEmbeddingClassifier',
                embed_dims=512,
                temperature=0.01,
                test_temperature=0.007,
            ),
            # All but the projection as upstream's mmdet 2.x starts them
            image_branch=dict(**box_branch, init_cfg=projection_init),
            init_cfg=[
                projection_init,
                dict(
                    type='Xavier',
                    distribution='uniform',
                    override=dict(name='shared_fcs'),
                ),
                dict(type='Normal', std=0.001, override=dict(name='fc_reg')),
            ],
        ),
        mask_head=dict(class_agnostic=True),
        # D / 2 * mean: upstream's kd_weight of 256
        loss_distill=dict(type='DistillationLoss', loss_weight=0.5),
    ),
    test_cfg=dict(rcnn=dict(score_thr=1e-4, max_per_img=300)),
)
