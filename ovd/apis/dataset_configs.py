"""The configs of a dataset of one's own: small deltas on `configs/_base_`."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List, Tuple

import ovd

BASES = Path('configs/_base_')
MADE_BY = '# Made by tools/new_dataset.py; yours to edit.\n'
MODEL = 'models/vild-star_faster-rcnn_r50_fpn_imagenet.py'


def _absolute(path: Path) -> Path:
    """Return a path without `..`; links stay, unless `..` leads out of one."""
    plain = os.path.abspath(path)
    real = os.path.realpath(path)
    return Path(plain if os.path.realpath(plain) == real else real)


@dataclass(frozen=True)
class DatasetConfigs:
    """What the configs of a dataset say; ``texts`` are the files.

    Args:
        name (str): The dataset's, in the names of configs and folders.
        out_dir (Path): Folder of the configs.
        ann_files (tuple[Path, Path]): Of train and val, before the split.
        split_files (tuple[Path, Path]): What the splitter makes of them.
        folders (tuple[Path, Path]): Of their images.
        num_classes (int): Base and novel ones together.
        pretrained (str): CLIP.
        embed_dims (int): Size of its embeddings.
    """

    name: str
    out_dir: Path
    ann_files: Tuple[Path, Path]
    split_files: Tuple[Path, Path]
    folders: Tuple[Path, Path]
    num_classes: int
    pretrained: str
    embed_dims: int

    @property
    def made(self) -> str:
        """Folder of what is made from the data."""
        return f'data/{self.name}'

    @property
    def class_embeddings(self) -> str:
        return f'{self.made}/prompt/vild.pth'

    @property
    def proposals(self) -> str:
        return f'{self.made}/proposals/rpn_train.safetensors'

    @property
    def store(self) -> str:
        clip = self.pretrained.replace('open_clip:', '').replace('/', '-')
        if clip != self.pretrained and Path(self.pretrained).suffix:
            clip = Path(self.pretrained).stem  # a file of weights
        return f'{self.made}/proposal_embeddings/{clip}'

    @property
    def work_dir(self) -> str:
        return f'work_dirs/{self.name}'

    def path(self, job: str) -> Path:
        """Return a config; `job` is a key of what :meth:`texts` writes."""
        names = dict(
            detection='{}_detection.py',
            split='{}_split_detection.py',
            rpn='rpn_r50_fpn_1x_{}.py',
            dump='rpn_r50_fpn_1x_{}_train.py',
            extract='proposal_feature_extractor_{}.py',
            vild='vild-ensemble_faster-rcnn_r50_fpn_1x_{}.py',
        )
        return self.out_dir / names[job].format(self.name)

    def texts(self) -> Dict[Path, str]:
        """Return the configs and what stands in them."""
        jobs = dict(
            detection=self._detection(),
            split=self._split(),
            rpn=self._rpn(),
            dump=self._dump(),
            extract=self._extract(),
            vild=self._vild(),
        )
        return {self.path(job): text for job, text in jobs.items()}

    def _base(self, name: str) -> str:
        """Return how configs call one of `configs/_base_`."""
        bases = (
            BASES
            if BASES.is_dir()
            else (Path(ovd.__file__).parents[1] / BASES)
        )
        return os.path.relpath(bases / name, self.out_dir)

    def _root(self) -> Path:
        """Return the folder that the configs' paths are relative to.

        That which all files share, or else that of the annotations.
        """
        files = [_absolute(path.parent) for path in self.ann_files]
        shared = Path(
            os.path.commonpath([*files, *map(_absolute, self.folders)])
        )
        if shared == Path(shared.anchor):
            shared = Path(os.path.commonpath(files))
        return shared

    def _data_root(self) -> str:
        """Return `data_root`; in the working folder it is relative."""
        root = self._root()
        if root.is_relative_to(Path.cwd()):
            root = root.relative_to(Path.cwd())
        return f'{root.as_posix()}/'

    def _relative(self, path: Path) -> str:
        """Return a path of the data as the configs have it."""
        path, root = _absolute(path), self._root()
        if not path.is_relative_to(root):
            return str(path)
        inside = path.relative_to(root).as_posix()
        return '' if inside == '.' else inside

    def _in_folder(self, folder: Path) -> str:
        inside = self._relative(folder)
        return f'{inside}/' if inside else ''

    def _detection(self) -> str:
        train, val = map(self._relative, self.ann_files)
        train_folder, val_folder = map(self._in_folder, self.folders)
        return f"""{MADE_BY}# {self.name}, boxes, before its classes are split.
_base_ = {self._base('datasets/custom_detection.py')!r}
data_root = {self._data_root()!r}
train_file = {train!r}
val_file = {val!r}

train_dataloader = dict(
    dataset=dict(
        data_root=data_root,
        ann_file=train_file,
        data_prefix=dict(img={train_folder!r})))
val_dataloader = dict(
    dataset=dict(
        data_root=data_root,
        ann_file=val_file,
        data_prefix=dict(img={val_folder!r})))
test_dataloader = val_dataloader

val_evaluator = dict(ann_file=data_root + val_file)
test_evaluator = val_evaluator
"""

    def _split(self) -> str:
        train, val = map(self._relative, self.split_files)
        return f"""{MADE_BY}# {self.name}, trained on its base classes alone.
_base_ = {self.path('detection').name!r}
train_split_file = {train!r}
val_split_file = {val!r}

train_dataloader = dict(dataset=dict(ann_file=train_split_file))
val_dataloader = dict(dataset=dict(ann_file=val_split_file))
test_dataloader = val_dataloader

val_evaluator = dict(ann_file=_base_.data_root + val_split_file)
test_evaluator = val_evaluator
"""

    def _bases(self, model: str) -> str:
        lines: List[str] = [
            model,
            self.path('split').name,
            'mmdet::_base_/schedules/schedule_1x.py',
            self._base('default_runtime.py'),
        ]
        inside = ''.join(f'    {line!r},\n' for line in lines)
        return f'_base_ = [\n{inside}]\n'

    def _rpn(self) -> str:
        return f"""{MADE_BY}# An RPN that sees base boxes alone.
{self._bases('mmdet::_base_/models/rpn_r50_fpn.py')}
val_evaluator = dict(
    _delete_=True,
    type='ProposalRecall',
    ann_file=_base_.data_root + _base_.val_split_file)
test_evaluator = val_evaluator
work_dir = {f'{self.work_dir}/rpn'!r}
"""

    def _dump(self) -> str:
        return f"""{MADE_BY}# Proposals of the training images.
_base_ = {self.path('rpn').name!r}

test_dataloader = dict(
    dataset=dict(
        ann_file=_base_.train_split_file,
        data_prefix=_base_.train_dataloader.dataset.data_prefix))
test_evaluator = dict(
    _delete_=True,
    type='ProposalDump',
    ann_file=_base_.data_root + _base_.train_split_file,
    recall_ann_file=_base_.data_root + _base_.train_file)
"""

    def _extract(self) -> str:
        return f"""{MADE_BY}# CLIP embeddings of the proposals.
_base_ = {self._base('extraction.py')!r}

model = dict(clip={self.pretrained!r})
train_dataloader = dict(
    dataset=dict(
        type='GZSLCocoDataset',
        data_root={self._data_root()!r},
        ann_file={self._relative(self.split_files[0])!r},
        data_prefix=dict(img={self._in_folder(self.folders[0])!r})))
train_cfg = dict(
    proposals={self.proposals!r},
    store={self.store!r})
work_dir = {f'{self.work_dir}/proposal_embeddings'!r}
"""

    def _vild(self) -> str:
        return f"""{MADE_BY}# ViLD-ensemble: names and CLIP in two branches.
{self._bases(self._base(MODEL))}
model = dict(
    roi_head=dict(
        bbox_head=dict(
            num_classes={self.num_classes},
            classifier=dict(
                class_embeddings={self.class_embeddings!r},
                embed_dims={self.embed_dims}))))

train_pipeline = [
    *_base_.train_pipeline[:2],
    dict(
        type='LoadProposalEmbeddings',
        store={self.store!r}),
    dict(
        type='ProposalBroadcaster',
        transforms=_base_.train_pipeline[2:-1]),
    dict(type='PackDistillInputs'),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
default_hooks = dict(
    class_embeddings=dict(
        type='ClassEmbeddingHook', pretrained={self.pretrained!r}))
work_dir = {f'{self.work_dir}/vild'!r}
"""
