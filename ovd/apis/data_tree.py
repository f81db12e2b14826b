"""What belongs where below `data/` and `pretrained/`, in one table.

`data/README.md` and `pretrained/README.md` show the table, `check_data`
compares it with what is there; a test holds all three together.
"""

from .tree_entry import Entry, Tree

COCO_SPLIT = (
    'python tools/build_zsl_dataset.py '
    'configs/_base_/datasets/coco_detection.py --split '
)
LVIS_SPLIT = (
    'python tools/build_zsl_dataset.py '
    'configs/_base_/datasets/lvis_v1_detection.py --split '
)
LVIS_V05_SPLIT = (
    'python tools/build_zsl_dataset.py '
    'configs/_base_/datasets/lvis_v0.5_instance.py --split 776_454'
)
MINIATURE_SPLIT = (
    'python tools/build_zsl_dataset.py '
    'configs/_base_/datasets/miniature_instance.py --split '
    'data/miniature/annotations/48_17.json'
)
DUMP = (
    'sh tools/dist_test.sh configs/rpn/rpn_r101_fpn_1x_{0}_train.py '
    'work_dirs/rpn_r101_fpn_1x_{0}_{1} 8 '
    '--out data/{0}/proposals/rpn_r101_fpn_{0}_train_{1}.pkl'
)
LINK = 'mkdir -p data/{0} && ln -s ../coco/{1} data/{0}'
EXTRACT = (
    'sh tools/dist_train.sh configs/feature_extractor/'
    'proposal_feature_extractor{}.py 8'
)
DETPRO = 'https://github.com/dyabel/detpro, column {} of its table'


def _coco_split(
    name: str, train: tuple[int, int], val: tuple[int, int]
) -> list[Entry]:
    """Return the two files of a published split of COCO."""
    return [
        Entry(
            f'annotations/instances_{subset}2017_{name}_1.json',
            'split',
            COCO_SPLIT + name,
            *counts,
            folder=f'{subset}2017',
        )
        for subset, counts in (('train', train), ('val', val))
    ]


COCO = Tree(
    'data/coco',
    'COCO 2017, https://cocodataset.org',
    (
        Entry(
            'train2017',
            'images',
            '"2017 Train images" of cocodataset.org',
            118287,
            required=True,
        ),
        Entry(
            'val2017',
            'images',
            '"2017 Val images" of cocodataset.org',
            5000,
            required=True,
        ),
        Entry(
            'annotations/instances_train2017.json',
            'annotations',
            '"2017 Train/Val annotations" of cocodataset.org',
            118287,
            required=True,
            folder='train2017',
        ),
        Entry(
            'annotations/instances_val2017.json',
            'annotations',
            '"2017 Train/Val annotations" of cocodataset.org',
            5000,
            36781,
            required=True,
            folder='val2017',
        ),
        *_coco_split('48_17', (107761, 665387), (4836, 33152)),
        *_coco_split('65_15', (111338, 811777), (4952, 36781)),
        Entry(
            'prompt/vild.pth',
            'class_embeddings',
            'python tools/class_embeddings.py vild --dataset coco',
            note='80 classes',
        ),
        Entry(
            'proposals/rpn_r101_fpn_coco_train_48_17.pkl',
            'proposals',
            DUMP.format('coco', '48_17'),
            note='of an RPN that saw base boxes alone',
        ),
        Entry(
            'proposal_embeddings/<clip>',
            'store',
            EXTRACT.format(''),
            note='such as ViT-B-32',
        ),
    ),
)

LVIS_V1 = Tree(
    'data/lvis_v1',
    'LVIS v1, https://www.lvisdataset.org',
    (
        Entry(
            'train2017',
            'images',
            LINK.format('lvis_v1', 'train2017'),
            118287,
            note="link to COCO's",
            required=True,
        ),
        Entry(
            'val2017',
            'images',
            LINK.format('lvis_v1', 'val2017'),
            5000,
            note="link to COCO's",
            required=True,
        ),
        Entry(
            'annotations/lvis_v1_train.json',
            'annotations',
            '"Training set" of lvisdataset.org',
            100170,
            1270141,
            required=True,
        ),
        Entry(
            'annotations/lvis_v1_val.json',
            'annotations',
            '"Validation set" of lvisdataset.org',
            19809,
            note='needs no split',
            required=True,
        ),
        Entry(
            'annotations/lvis_v1_train_866_337_1.json',
            'split',
            LVIS_SPLIT + '866_337',
            annotations=1264884,
        ),
        Entry(
            'prompt/vild.pth',
            'class_embeddings',
            'python tools/class_embeddings.py vild --dataset lvis_v1',
            note='1,203 classes',
        ),
        Entry(
            'proposals/rpn_r101_fpn_lvis_v1_train_866_337.pkl',
            'proposals',
            DUMP.format('lvis_v1', '866_337'),
            note='of an RPN that saw base boxes alone',
        ),
        Entry(
            'proposal_embeddings/<clip>',
            'store',
            EXTRACT.format('_lvis_v1'),
            note='such as ViT-B-32',
        ),
    ),
)

LVIS_V05 = Tree(
    'data/lvis_v0.5',
    'LVIS v0.5, https://www.lvisdataset.org',
    (
        Entry(
            'train2017',
            'images',
            LINK.format('lvis_v0.5', 'train2017'),
            118287,
            note="link to COCO's",
            required=True,
        ),
        Entry(
            'val2017',
            'images',
            LINK.format('lvis_v0.5', 'val2017'),
            5000,
            note="link to COCO's",
            required=True,
        ),
        Entry(
            'annotations/lvis_v0.5_train.json',
            'annotations',
            'the training set of LVIS v0.5, lvisdataset.org',
            None,
            693958,
            required=True,
        ),
        Entry(
            'annotations/lvis_v0.5_val.json',
            'annotations',
            'the validation set of LVIS v0.5, lvisdataset.org',
            5000,
            note='needs no split',
            required=True,
        ),
        Entry(
            'annotations/lvis_v0.5_train_776_454_1.json',
            'split',
            LVIS_V05_SPLIT,
        ),
    ),
)

BUILD = 'python tools/build_miniature.py'
MINIATURE = Tree(
    'data/miniature',
    'made here: sh tools/demo.sh',
    (
        Entry('world.json', 'file', BUILD, note='the settings of the world'),
        Entry('train', 'images', BUILD, 1200, required=True),
        Entry('val', 'images', BUILD, 250, required=True),
        Entry(
            'annotations/instances_train.json',
            'annotations',
            BUILD,
            1200,
            note='65 classes',
            required=True,
            folder='train',
        ),
        Entry(
            'annotations/instances_val.json',
            'annotations',
            BUILD,
            250,
            note='65 classes',
            required=True,
            folder='val',
        ),
        Entry(
            'annotations/48_17.json',
            'file',
            BUILD,
            note='the split: base and novel names',
        ),
        Entry(
            'clip_crops/names.json',
            'file',
            BUILD,
            note='captions of the crops',
        ),
        *(
            Entry(f'clip_crops/{name}', 'array', BUILD, note=note)
            for name, note in (
                ('crops.npy', '16,000 crops that the small CLIP learns from'),
                ('crops_labels.npy', 'which caption each has'),
                ('heldout_crops.npy', '2,000 crops that it is tested on'),
                ('heldout_crops_labels.npy', 'which caption each has'),
            )
        ),
        Entry(
            'annotations/instances_train_48_17_1.json',
            'split',
            MINIATURE_SPLIT,
            folder='train',
        ),
        Entry(
            'annotations/instances_val_48_17_1.json',
            'split',
            MINIATURE_SPLIT,
            folder='val',
        ),
        Entry(
            'prompt/vild.pth',
            'class_embeddings',
            'python tools/class_embeddings.py vild --dataset miniature',
            note='65 classes',
        ),
        Entry(
            'proposals/rpn_train_48_17.safetensors',
            'proposals',
            'python tools/test.py configs/miniature/'
            'rpn_r18_fpn_miniature_train.py work_dirs/miniature/rpn --out '
            'data/miniature/proposals/rpn_train_48_17.safetensors',
        ),
        Entry(
            'proposal_embeddings/miniature',
            'store',
            'python tools/train.py '
            'configs/miniature/proposal_feature_extractor.py',
        ),
    ),
)

# Their class embeddings go to the folder that --dataset calls them by.
VOC = Tree(
    'data',
    'PASCAL VOC 2007, http://host.robots.ox.ac.uk/pascal/VOC/voc2007',
    (
        Entry(
            'VOCdevkit/VOC2007/JPEGImages',
            'images',
            'VOC2007 test set',
            required=True,
        ),
        Entry(
            'VOCdevkit/VOC2007/Annotations',
            'folder',
            'VOC2007 test set',
            note='one .xml per image',
            required=True,
        ),
        Entry(
            'VOCdevkit/VOC2007/ImageSets/Main/test.txt',
            'list',
            'VOC2007 test set',
            note='names of the test images',
            required=True,
        ),
        Entry(
            'voc/prompt/vild.pth',
            'class_embeddings',
            'python tools/class_embeddings.py vild --dataset voc',
            note='20 classes',
        ),
    ),
)


def _objects365(version: int, stem: str, dataset: str) -> Tree:
    source = f'Objects365 v{version}, https://www.objects365.org'
    folder = f'Objects365/Obj365_v{version}'
    return Tree(
        'data',
        source,
        (
            Entry(f'{folder}/val', 'images', 'objects365.org', required=True),
            Entry(
                f'{folder}/annotations/{stem}_val.json',
                'annotations',
                'objects365.org',
                required=True,
                folder=f'{folder}/val',
            ),
            Entry(
                f'{dataset}/prompt/vild.pth',
                'class_embeddings',
                f'python tools/class_embeddings.py vild --dataset {dataset}',
                note='365 classes',
            ),
        ),
    )


PRETRAINED = Tree(
    'pretrained',
    'weights to start from',
    (
        Entry(
            'clip/ViT-B-32.pt',
            'clip',
            "found in CLIP's cache or downloaded",
            note='CLIP ViT-B/32',
        ),
        Entry(
            'clip/RN50.pt',
            'clip',
            "found in CLIP's cache or downloaded",
            note='CLIP RN50',
        ),
        Entry(
            'clip/miniature.pt',
            'weights',
            'python tools/train.py configs/miniature/clip_rn_miniature.py',
            note='the CLIP of the miniature world',
        ),
        Entry(
            'torchvision/resnet50-0676ba61.pth',
            'weights',
            'https://download.pytorch.org/models/resnet50-0676ba61.pth',
            note='ImageNet, for the backbone',
        ),
        Entry(
            'torchvision/resnet101-63fe2227.pth',
            'weights',
            'https://download.pytorch.org/models/resnet101-63fe2227.pth',
            note='ImageNet, for the backbone',
        ),
        Entry(
            'soco/soco_star_mask_rcnn_r50_fpn_400e.pth',
            'weights',
            'https://github.com/hologerry/SoCo, there called '
            'current_mmdetection_Head.pth',
            note='SoCo*, for ViLD* and DetPro',
        ),
        Entry(
            'detpro/iou_neg5_ens.pth',
            'weights',
            DETPRO.format('"prompt"'),
            note="DetPro's class embeddings of LVIS",
        ),
        *(
            Entry(
                f'detpro/{name}.pth',
                'weights',
                DETPRO.format('"model"'),
                note=f'{note}, as published',
            )
            for name, note in (
                ('vild_star', 'ViLD*, Mask R-CNN'),
                ('detpro', 'DetPro, Mask R-CNN'),
                ('detpro_cascade', 'DetPro, Cascade Mask R-CNN'),
            )
        ),
    ),
)

DATA_TREES = {
    'coco': COCO,
    'lvis_v1': LVIS_V1,
    'lvis_v0.5': LVIS_V05,
    'miniature': MINIATURE,
    'voc': VOC,
    'objects365': _objects365(2, 'zhiyuan_objv2', 'objects365'),
    'objects365_v1': _objects365(1, 'objects365', 'objects365_v1'),
    'pretrained': PRETRAINED,
}
