"""Finds nuScenes' tables under a data root, and which version of them has what is wanted."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from train.core.errors import UserError
from train.data.files import RootLayout, listed, reading
from train.data.nuscenes.tables import read_rows


def _scenes(numbers: str) -> tuple[str, ...]:
    """Return the names of scenes given as numbers and ranges, both ends included."""
    names = []
    for part in numbers.split():
        first, _, last = part.partition("-")
        names += [f"scene-{number:04d}" for number in range(int(first), int(last or first) + 1)]
    return tuple(names)


_TRAIN: Final = _scenes(
    "1-2 4-11 19-34 41-76 120-135 138-139 149-152 154-155 157-168 170-185 187-188 190-196 199-200 "
    "202-204 206-214 218-220 222 224-264 283-306 315-318 321 323-324 328 347-386 388-403 405-408 "
    "410-459 461-465 467-469 471-472 474-480 499-502 504-515 517-518 525-539 541-546 566 568 "
    "570-578 580 582-600 639-679 681 683-689 695-698 700-701 703-719 726-728 730-731 733-741 744 "
    "746-747 749-752 757-765 767-769 786-787 789-792 803-806 808-813 815-817 819-822 847-856 858 "
    "860-866 868-873 875-878 880 882-903 945 947 949 952-953 955-961 975-984 988-992 994-1025 "
    "1044-1058 1074-1102 1104-1110"
)
_VALIDATION: Final = _scenes(
    "3 12-18 35-36 38-39 92-110 221 268-278 329-332 344-346 519-524 552-565 625-627 629-630 "
    "632-638 770-771 775 777-778 780-784 794-800 802 904-917 919-931 962-963 966-969 971-972 "
    "1059-1073"
)
_TEST: Final = _scenes(
    "77-91 111-119 140 142-148 265-266 279-282 307-314 333-343 481-498 547-551 601-604 606-624 "
    "827-831 833-842 844-846 932-933 935-943 1026-1043"
)

VERSIONS: Final = ("v1.0-trainval", "v1.0-mini", "v1.0-test")
"""The folders of tables that there can be, the one preferred for labeled data first."""

SCENES: Final = {
    "training": {
        "v1.0-trainval": _TRAIN,
        "v1.0-mini": _scenes("61 553 655 757 796 1077 1094 1100"),
    },
    "validation": {"v1.0-trainval": _VALIDATION, "v1.0-mini": _scenes("103 916")},
    "test": {"v1.0-test": _TEST},
}
"""The scenes of each split in each version of the tables that has it, the preferred one first."""


_LAYOUT: Final = RootLayout(
    "nuScenes",
    "the folder that holds samples/LIDAR_TOP/ and v1.0-trainval/, v1.0-mini/ or v1.0-test/",
    "it holds the tables",
)


def find_versions(root: Path) -> dict[str, tuple[str, ...]]:
    """Return the scenes of each version of the tables that is there.

    Raises
    ------
    UserError
        If the root is missing, a file, empty, a level too high or too low, or something else, or a
        table of scenes is missing or damaged.
    """
    _LAYOUT.check(root)
    with reading(root):
        versions = [name for name in VERSIONS if (root / name).is_dir()]
        if not versions:
            raise _LAYOUT.refusal(root, _is_root)
    return {
        name: tuple(row.text("name") for row in read_rows(root / name / "scene.json"))
        for name in versions
    }


def choose_version(root: Path, split: str, sequences: Sequence[str]) -> str:
    """Return the folder of tables that a split, or all of the named scenes, are to be read from.

    Raises
    ------
    UserError
        If there is none; see also `find_versions`.
    """
    versions = find_versions(root)
    usual = [name for name in SCENES[split] if name in versions]
    if sequences:
        candidates = usual + [name for name in versions if name not in usual]
        for name in candidates:
            if set(sequences) <= set(versions[name]):
                return name
        table = root / candidates[0] / "scene.json"
        absent = [name for name in sequences if name not in versions[candidates[0]]]
        raise UserError(
            f"{table}: has no {listed(absent)}; it has "
            f"{listed(versions[candidates[0]], 'no scene')}; choose others"
        )
    if not usual:
        raise UserError(
            f"{root}: has no {' or '.join(SCENES[split])}, where the {split} split is; it has "
            f"{', '.join(versions)}; unpack it there, or choose another split or scenes by name"
        )
    version = usual[0]
    if not set(SCENES[split][version]) & set(versions[version]):
        raise UserError(
            f"{root / version / 'scene.json'}: has none of the {len(SCENES[split][version])} "
            f"scenes of the official {split} split; it has "
            f"{listed(versions[version], 'no scene')}; choose scenes by name"
        )
    return version


def _is_root(folder: Path) -> bool:
    return any((folder / name / "scene.json").is_file() for name in VERSIONS)
