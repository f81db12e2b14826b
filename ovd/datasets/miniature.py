"""Write the miniature world: scenes, COCO annotations, captioned crops.

Everything follows from the seed: scene ``index`` of a subset is drawn with
``np.random.default_rng([seed, subset, index])``, so any part of the world can
be made alone and in any order. A run that was cut off is picked up where it
stopped: a file that exists is kept, and files appear whole or not at all.
"""

import json
from pathlib import Path
from typing import Dict, Iterable, List, Sequence

import cv2
import numpy as np
from pycocotools import mask as mask_tools
from tqdm import tqdm

from ovd.artifacts.files import PathLike, atomic_write

from .miniature_crops import CROP_SIZE, CROPS_PER_SCENE, draw_crops
from .miniature_names import BACKGROUND, SPLIT, build_vocabulary
from .miniature_scene import IMAGE_SIZE, Scene, render_scene

# Raised whenever the same seed would give other files.
WORLD_VERSION = 1
# Each subset has its own stream of random numbers.
SUBSETS = ('train', 'val', 'crops', 'heldout_crops')
# A contour runs through the centres of border pixels, so half a pixel would be
# lost all round. On a doubled mask it becomes a quarter, which rounds back.
CONTOUR_ZOOM = 2


def write_world(
    root: PathLike,
    seed: int = 0,
    num_train: int = 1200,
    num_val: int = 250,
    num_crops: int = 16000,
    num_heldout_crops: int = 2000,
) -> None:
    """Write the world's files below ``root``, those that are missing.

    Args:
        root (PathLike): Folder, e.g. ``data/miniature``.
        seed (int): Chooses the scenes, not the names. Defaults to 0.
        num_train (int): Training scenes. Defaults to 1200.
        num_val (int): Validation scenes. Defaults to 250.
        num_crops (int): Crops for CLIP, from other scenes. Defaults to 16000.
        num_heldout_crops (int): Crops, again from other scenes, to measure
            its zero-shot accuracy on. Defaults to 2000.

    Raises:
        ValueError: If the folder has a world of other settings, or a number
            is not positive.
    """
    settings = dict(
        version=WORLD_VERSION,
        seed=seed,
        num_train=num_train,
        num_val=num_val,
        num_crops=num_crops,
        num_heldout_crops=num_heldout_crops,
    )
    for key, value in settings.items():
        if value < (0 if key == 'seed' else 1):
            raise ValueError(f'{key} must be positive, got {value}')
    root = Path(root)
    _claim_folder(root, settings)
    vocabulary = build_vocabulary()
    _write_json(root / 'annotations' / f'{SPLIT}.json', vocabulary.split)
    _write_json(
        root / 'clip_crops' / 'names.json', [BACKGROUND] + vocabulary.names
    )
    write_crops(root, 'crops', seed, num_crops)
    write_crops(root, 'heldout_crops', seed, num_heldout_crops)
    write_scenes(root, 'train', seed, num_train)
    write_scenes(root, 'val', seed, num_val)


def _claim_folder(root: Path, settings: Dict[str, int]) -> None:
    """Note the settings in ``world.json``, or compare with those there."""
    path = root / 'world.json'
    if not path.exists():
        _write_json(path, settings)
        return
    found = json.loads(path.read_text(encoding='utf-8'))
    differences = [
        f'{key} is {found.get(key)} there, {settings.get(key)} was asked for'
        for key in {**settings, **found}
        if found.get(key) != settings.get(key)
    ]
    if differences:
        raise ValueError(
            f'{root} has a world of other settings: {"; ".join(differences)}. '
            f'Choose another folder or remove that one'
        )


def draw_scene(seed: int, subset: str, index: int) -> Scene:
    """Return scene ``index`` (from 0) of a subset of the world."""
    rng = _scene_rng(seed, subset, index)
    return render_scene(rng, build_vocabulary().looks)


def _scene_rng(seed: int, subset: str, index: int) -> np.random.Generator:
    return np.random.default_rng([seed, SUBSETS.index(subset), index])


def write_scenes(root: Path, subset: str, seed: int, count: int) -> None:
    """Write ``<subset>/000001.png`` … and ``instances_<subset>.json``.

    Args:
        root (Path): The world's folder.
        subset (str): ``'train'`` or ``'val'``.
        seed (int): The world's seed.
        count (int): Number of scenes.
    """
    annotation_file = root / 'annotations' / f'instances_{subset}.json'
    images = {i: root / subset / f'{i:06d}.png' for i in range(1, count + 1)}
    complete = annotation_file.exists()
    todo = [i for i in images if not (complete and images[i].exists())]
    annotations: List[dict] = []
    for image_id in _progress(todo, f'{subset} scenes'):
        scene = draw_scene(seed, subset, image_id - 1)
        if not images[image_id].exists():
            _write_png(images[image_id], scene.image)
        for annotation in annotate(scene):
            annotations.append(
                dict(id=len(annotations) + 1, image_id=image_id, **annotation)
            )
    if not complete:
        _write_json(
            annotation_file,
            dict(
                info=dict(description='ovd miniature world', seed=seed),
                images=[
                    dict(
                        id=i,
                        file_name=path.name,
                        width=IMAGE_SIZE,
                        height=IMAGE_SIZE,
                    )
                    for i, path in images.items()
                ],
                annotations=annotations,
                categories=build_vocabulary().categories,
            ),
        )


def annotate(scene: Scene) -> List[dict]:
    """Return COCO annotations of the named objects, less their ids.

    Boxes are xywh pixels, tight around what is visible; areas are in pixels.
    """
    return [
        dict(
            category_id=int(label) + 1,
            bbox=[float(v) for v in (x1, y1, x2 - x1, y2 - y1)],
            area=float(mask.sum()),
            segmentation=encode_mask(mask),
            iscrowd=0,
        )
        for label, mask, (x1, y1, x2, y2) in zip(
            scene.labels, scene.masks, scene.bboxes, strict=True
        )
    ]


def encode_mask(mask: np.ndarray) -> object:
    """Turn a mask (H, W) bool into COCO polygons, or RLE where it has holes.

    A polygon can't leave out a hole, so such masks (rings, or an object with
    another on it) are run lengths. Both decode to the same pixels.
    """
    zoom = np.ones((CONTOUR_ZOOM, CONTOUR_ZOOM), np.uint8)
    contours, hierarchy = cv2.findContours(
        np.kron(mask.astype(np.uint8), zoom),
        cv2.RETR_CCOMP,
        cv2.CHAIN_APPROX_SIMPLE,
    )
    if (hierarchy[0, :, 3] >= 0).any():
        rle = mask_tools.encode(np.asfortranarray(mask.astype(np.uint8)))
        return dict(size=rle['size'], counts=rle['counts'].decode())
    polygons = [cv2.approxPolyDP(contour, 0.5, True) for contour in contours]
    return [
        ((polygon.reshape(-1) + 0.5) / CONTOUR_ZOOM).tolist()
        for polygon in polygons
    ]


def write_crops(root: Path, subset: str, seed: int, count: int) -> None:
    """Write ``clip_crops/<subset>.npy`` and ``<subset>_labels.npy``.

    The first is (N, 64, 64, 3) uint8 RGB, the second (N,) int64: 0 for
    background, else the category id; both are names' places in
    ``names.json``.

    Args:
        root (Path): The world's folder.
        subset (str): ``'crops'`` or ``'heldout_crops'``.
        seed (int): The world's seed.
        count (int): N.
    """
    crops_file = root / 'clip_crops' / f'{subset}.npy'
    labels_file = root / 'clip_crops' / f'{subset}_labels.npy'
    if crops_file.exists() and labels_file.exists():
        return
    crops = np.empty((count, CROP_SIZE, CROP_SIZE, 3), np.uint8)
    labels = np.empty(count, np.int64)
    looks = build_vocabulary().looks
    starts = range(0, count, CROPS_PER_SCENE)
    for start in _progress(starts, f'scenes for {subset}'):
        rng = _scene_rng(seed, subset, start // CROPS_PER_SCENE)
        part = slice(start, min(start + CROPS_PER_SCENE, count))
        size = part.stop - part.start
        found, found_labels = draw_crops(rng, render_scene(rng, looks))
        crops[part], labels[part] = found[:size], found_labels[:size]
    for path, array in ((labels_file, labels), (crops_file, crops)):
        with atomic_write(path) as file:
            np.save(file, array, allow_pickle=False)


def _progress(items: Sequence, what: str) -> Iterable:
    return tqdm(items, desc=what, disable=len(items) == 0)


def _write_png(path: Path, image: np.ndarray) -> None:
    _, data = cv2.imencode('.png', cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    with atomic_write(path) as file:
        file.write(data.tobytes())


def _write_json(path: Path, content: object) -> None:
    if not path.exists():
        with atomic_write(path, 'w') as file:
            json.dump(content, file)
