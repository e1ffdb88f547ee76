"""Which folders hold images, masks and fields of view, and which mask belongs to which image, by their names.

Names count without the case of letters and in either normal form of Unicode. images/ and masks/ may be called image,
img, photos, mask, label, gt, 1st_manual and so on. 0_mask.png, 0_seg.png or mask_0.png is the mask of 0.png.
"""

import re
from pathlib import Path
from typing import NamedTuple

from synthmed_tf.datasets.files import (
    find_split_folders,
    fold_name,
    has_image_suffix,
    is_nameless_dicom,
    list_subfolders,
    show_path,
)
from synthmed_tf.images.decode import IMAGE_SUFFIXES
from synthmed_tf.sample import InputError

_MANUAL = "1stmanual|manual1|manuals?|1stho"
_FOLDERS = {  # what a folder is called without what is no letter or digit; the first name of each goes before others
    "images": "images|image|imgs?|photos?|photographs?|pictures?|originals?|inputs?|raw|(?:raw|input|original)?images?",
    "masks": "masks|masks?|(?:vessel|binary|mask)?(?:masks?|labels?)|lbls?|gts?|groundtruths?|goldstandard|"
    f"{_MANUAL}|segs?|segmentations?|(?:image)?annotations?|masken|masques?|mascaras?|maschere",
    "fields": "fov|fovs|fieldofview|fieldsofview",
    "second_masks": "2ndmanual|manual2|2ndho",
}
_JOINT = r"[\s_.-]*"
_MASK_WORDS = (
    f"masks?|segs?|segm|segmentations?|segmented|gts?|ground{_JOINT}truths?|labels?|lbls?|annot|annotations?|"
    f"(?:1st|first)?{_JOINT}manual1?|1stho|vessels?"
)
_SECOND_WORDS = f"2ndho|manual2|2nd{_JOINT}manual"
_IMAGE_WORDS = "images?|imgs?|im|photos?|originals?|orig|raw|training|train|test"


class Places(NamedTuple):
    """The folders of a set of images, with masks or without; None where there is none of a kind."""

    images: Path
    masks: Path | None = None
    fields: Path | None = None
    second_masks: Path | None = None


def find_places(folder):
    """The Places in a folder, or None where it holds no such layout. Images that lie in it alone count as its images.

    Raises:
      InputError: two folders may hold the masks.
    """
    folders = [place for place in list_subfolders(folder) if place not in find_split_folders(folder)]
    kinds = {kind: _find_folder(kind, folders) for kind in _FOLDERS}
    manual = _find_folder("masks", folders, _MANUAL)
    if manual:
        rest = _find_folder("masks", [place for place in folders if place != manual])
        if rest and (fold_name(rest.name) == "masks" or kinds["fields"]):
            raise InputError(
                f"{show_path(rest)}: lies beside {manual.name}/, and either could hold the masks; allowed is one such "
                "folder; rename the one of fields of view fov, or move one away"
            )
        kinds |= {"masks": manual, "fields": rest or kinds["fields"]}  # the layout of DRIVE, where mask/ holds views
    else:
        kinds["second_masks"] = None
    others = [place for place in folders if place not in kinds.values() and has_images(place)]
    if kinds["masks"] and not kinds["images"] and len(others) == 1:
        kinds["images"], others = others[0], []
    if others and not kinds["masks"] and kinds["images"] and _squash(kinds["images"]) != "images":
        return None  # it is a class among others
    if kinds["images"]:
        return Places(**kinds)
    if has_images(folder) and not any(has_images(place) for place in list_subfolders(folder)):
        return Places(folder)
    return None


def check_no_others(folder, places):
    """Raises InputError where a folder with images that lies beside images without masks may hold their masks."""
    for other in list_subfolders(folder):
        if not places.masks and other not in places and other not in find_split_folders(folder) and has_images(other):
            raise InputError(
                f"{show_path(other)}: lies beside {places.images.name}/, which has no masks/; if it holds the masks, "
                "rename it masks, else move it away"
            )


def is_called_images(name):
    """Whether a folder of this name is one of images."""
    return bool(re.fullmatch(_FOLDERS["images"], re.sub(r"[\W_]+", "", fold_name(name))))


def is_folder_of_masks(folder):
    """Whether a folder is called like one of masks or of fields of view."""
    return any(re.fullmatch(_FOLDERS[kind], _squash(folder)) for kind in ("masks", "fields", "second_masks"))


def has_images(folder):
    """Whether images lie in the folder itself."""
    return any(path.is_file() and (has_image_suffix(path.name) or is_nameless_dicom(path)) for path in folder.iterdir())


def pair_masks(images, masks, folders, what="mask"):
    """{stem of an image: (its mask, that of a second observer or None)}.

    Args:
      images, masks: {stem: File}.
      folders: (Path of the images', of the masks'), for messages. what: masks are called there.

    Raises:
      InputError: an image without mask and the reverse, or two masks for one image.
    """
    second = {stem: file for stem, file in masks.items() if _is_second(stem, images)}
    masks = {stem: file for stem, file in masks.items() if stem not in second}
    pairs, seconds = _match(images, masks), _match(images, second, _SECOND_WORDS)
    taken = {*pairs.values(), *seconds.values()}
    spare = {stem: file for stem, file in {**masks, **second}.items() if stem not in taken}
    stems = {fold_name(stem) for stem in images}
    if twice := next((file for stem, file in spare.items() if _strip(stem) in stems), None):
        raise InputError(f"{twice.name}: a second {what} of one image; allowed is one an image; move one away")
    lacking = {stem: file for stem, file in images.items() if stem not in pairs}
    if odd := sorted({**lacking, **spare}):
        stem = odd[0]
        file, other, place = (
            (lacking[stem], what, folders[1]) if stem in lacking else (spare[stem], "image", folders[0])
        )
        raise InputError(
            f"{file.name}: has no {other}, looked for {show_path(place / stem)} with any of the endings "
            f"{', '.join(IMAGE_SUFFIXES)}; add it with the same stem, or move this one away"
        )
    return {stem: (masks[pairs[stem]], second.get(seconds.get(stem))) for stem in images}


def _is_second(stem, images):
    return stem not in images and _strip(stem, _SECOND_WORDS) != fold_name(stem)


def match_second(images, masks):
    """{stem of an image: its File among those of a second observer}."""
    return {stem: masks[other] for stem, other in _match(images, masks, f"{_MASK_WORDS}|{_SECOND_WORDS}").items()}


def split_off_masks(files):
    """({stem: File} of images, the same of masks) of files in one folder, where 0_mask.png is beside 0.png."""
    stems = {fold_name(stem) for stem in files}
    words = rf"(?:{_MASK_WORDS}|{_SECOND_WORDS})(?:[\s_.-]?\d)?"  # 0_mask_1.png: a second one
    masks = {stem for stem in files if (shorter := _strip(stem, words)) != fold_name(stem) and shorter in stems}
    return {s: file for s, file in files.items() if s not in masks}, {s: files[s] for s in masks}


def _match(images, masks, words=_MASK_WORDS):
    """{stem of an image: stem of its mask}: of the same stem, of the same but for case, or but for words like mask."""
    keys = (  # of an image, of a mask
        (str, str),
        (fold_name, fold_name),
        (fold_name, lambda stem: _strip(stem, words)),
        (lambda stem: _strip(stem, _IMAGE_WORDS), lambda stem: _strip(stem, f"{words}|{_IMAGE_WORDS}")),
    )
    pairs = {}
    for of_image, of_mask in keys:
        ours, theirs = {}, {}
        for stem in images.keys() - pairs.keys():
            ours.setdefault(of_image(stem), []).append(stem)
        for stem in masks.keys() - set(pairs.values()):
            theirs.setdefault(of_mask(stem), []).append(stem)
        pairs |= {
            ours[key][0]: theirs[key][0]
            for key in ours.keys() & theirs.keys()
            if len(ours[key]) == len(theirs[key]) == 1
        }
    return {stem: pairs[stem] for stem in images if stem in pairs}


def _strip(stem, words=_MASK_WORDS):
    """A folded stem without such words before or behind it."""
    stem, before = fold_name(stem), None
    while stem != before:
        before = stem
        stem = re.sub(rf"(?<=[^\s_.-])(?:[\s_.-]+|(?<=\d))(?:{words})$", "", stem)
        stem = re.sub(rf"^(?:{words})(?:[\s_.-]+|(?=\d))(?=[^\s_.-])", "", stem)
    return stem


def _find_folder(kind, folders, names=None):
    """The folder of a kind, the one with the plain name first; None where there is none, or several without it."""
    fitting = [place for place in folders if re.fullmatch(names or _FOLDERS[kind], _squash(place))]
    plain = [place for place in fitting if _squash(place) == kind.replace("fields", "fov")]
    return plain[0] if plain else fitting[0] if len(fitting) == 1 else None


def _squash(folder):
    return re.sub(r"[\W_]+", "", fold_name(folder.name))
