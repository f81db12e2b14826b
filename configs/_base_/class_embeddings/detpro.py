# The 74 sentences of DetPro, ViLD* and OADP; for use see vild.py.
class_embedding_hook = dict(
    type='ClassEmbeddingHook', pretrained='ViT-B/32', templates='detpro'
)
