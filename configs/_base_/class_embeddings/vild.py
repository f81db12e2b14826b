# ViLD's 63 sentences, made before a run where they are missing. A list of
# bases has this and default_hooks, which go together in the config:
# default_hooks = dict(class_embeddings=_base_.pop('class_embedding_hook'))
class_embedding_hook = dict(type='ClassEmbeddingHook', pretrained='ViT-B/32')
