"""Field of view, crop, resize, mask <-> distance field, and reading of image files: numpy in, numpy out."""

import heapq
import warnings
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps

from synthmed_tf.dicom import read_dicom
from synthmed_tf.sample import InputError, UnreadableImage

DICOM_SUFFIXES = (".dcm", ".dicom")
IMAGE_SUFFIXES = (".png", ".tif", ".tiff", ".jpg", ".jpeg", ".bmp", ".gif", *DICOM_SUFFIXES)
_FORMATS = ("PNG", "TIFF", "JPEG", "BMP", "GIF")  # Pillow's decoders for them; no others are tried on a user's bytes
SKELETON_BONUS = 0.3  # measured on DRIVE at 128: 0 keeps 53 % of the vessels' length, 0.3 61 %, 1 67 % but thins them
CENTRELINE_WEIGHT = 0.3  # of the centreline beside the wall: the ridge of a thin vessel is the first thing that blurs
# What part of the shorter side the rim of a field of view is: photographs are dark there, or blended with the black
# around
RIM = 64
DARKEST = 1 / 255  # share of light that a rim lets pass at least, so that it is told from what is outside
_MAX_FIELD = 1 - 2.0**-20  # distance fields stay inside the open interval, where atanh is finite in float32


class Box(NamedTuple):
    """A crop in native pixels. It may reach beyond the image, where everything is 0."""

    top: int
    left: int
    height: int
    width: int


def read_image(path, stream=None, is_mask=False):
    """Reads an image file.

    Palettes become grey or colours, 1-bit becomes 0 and 255, transparency is dropped, the camera's EXIF rotation is
    applied. Intensities are never scaled, but for those of DICOM files (.dcm, .dicom), see `dicom.read_dicom`.

    Args:
      path: file name; appears in messages.
      stream: binary file object that holds the bytes, where they do not lie in a file of their own (a zip's member).
      is_mask: where all pixels have one colour and not one opacity, the opacity is what was drawn, and returned.

    Returns:
      [height, width, channels], uint8 or uint16 (16-bit grey), channels 1 or 3.

    Raises:
      UnreadableImage: missing, truncated, not an image, or a decompression bomb (over Pillow's limit of 89 megapixels).
      InputError: a readable image of a kind that is not supported: several pages, 16-bit colour, other numbers.
    """
    if str(path).lower().endswith(DICOM_SUFFIXES):
        return read_dicom(path, stream)
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            # Pillow maps a file that it opens itself into memory, and scrambles turned TIFFs
            with open(path, "rb") if stream is None else stream as file, Image.open(file, formats=_FORMATS) as image:
                pages = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)  # MPO: a JPEG with previews
                tags = image.tag_v2 if image.format == "TIFF" else {}  # bits, samples, colours and kind of numbers
                is_deep = max(tags.get(258, (1,))) > 8
                is_deep_colour = is_deep and tags.get(277, 1) > 1
                if image.tile and image.mode in ("RGB", "RGBA", "LA"):
                    is_deep_colour |= ";16" in str(image.tile[0][3])
                is_signed_byte = not is_deep and 2 in tags.get(339, ())
                image.load()
                is_inverted = image.mode == "I;16" and tags.get(262) == 0  # Pillow inverts 8 bits alone
                image = _in_grey_or_colour(ImageOps.exif_transpose(image), is_mask)
        except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
            raise UnreadableImage(
                f"{path}: declares more than {Image.MAX_IMAGE_PIXELS} pixels, the most that is read: a damaged or "
                "hostile file; resize or remove it, or leave such files out by --skip_bad_files"
            ) from error
        except Exception as error:  # a parser of hostile bytes may raise anything
            reason = " ".join(str(error).split()) or type(error).__name__
            raise UnreadableImage(
                f"{path}: cannot be read as an image ({reason}); allowed are readable {', '.join(IMAGE_SUFFIXES)} "
                "files; replace it, or leave such files out by --skip_bad_files"
            ) from error
    if pages > 1:
        raise InputError(f"{path}: holds {pages} pages, allowed is one; save each as a file of its own")
    if is_deep_colour:
        raise InputError(
            f"{path}: 16-bit colour or transparency, allowed are 8-bit colour and 8- or 16-bit grey; convert it"
        )
    values = np.asarray(image)
    if is_signed_byte or values.dtype != np.uint8:
        if is_signed_byte or values.dtype.kind not in "iu" or values.min() < 0 or values.max() > 65535:
            found = "int8" if is_signed_byte else f"{values.dtype} from {values.min()} to {values.max()}"
            raise InputError(f"{path}: pixels are {found}, allowed are 8- and 16-bit whole numbers; convert it")
        values = values.astype(np.uint16)
    if is_inverted:
        values = 65535 - values
    return values.reshape(values.shape[0], values.shape[1], -1)


def _in_grey_or_colour(image, is_mask):
    """A Pillow image of any mode without palette and transparency, see `read_image`."""
    if image.mode == "La":
        image = image.convert("LA")
    if is_mask and image.mode in ("P", "PA", "LA", "RGBA", "RGBa"):
        seen = image.convert("RGBA")
        *colours, opacity = seen.getextrema()
        if all(low == high for low, high in colours) and opacity[0] < opacity[1]:
            return seen.getchannel("A")
    if image.mode == "P":
        palette = np.array(image.getpalette("RGB"), np.uint8).reshape(-1, 3)
        used = palette[[index for _, index in image.getcolors(256) if index < len(palette)]]
        return image.convert("L" if (used == used[:, :1]).all() else "RGB")
    if image.mode in ("1", "LA"):
        return image.convert("L")
    if image.mode in ("PA", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "LAB", "HSV"):
        return image.convert("RGB")
    return image


def filled(photograph, inside):
    """A photograph that goes on beyond its field of view, for a warp to move in:
    what is at the rim or outside is as the nearest pixel within.

    Args:
      photograph: [height, width, channels] float in [-1, 1].
      inside: [height, width, 1] in {0, 1}, its field of view; None, or one of hardly more than a rim, changes nothing.

    Returns:
      (the photograph filled; [height, width, 1] in [0, 1]: what share of its light passes the rim, 1 within and 0
      outside). The light of the one that passes the other is, but for colour, the photograph again.
    """
    if inside is None:
        return photograph, np.ones_like(photograph[..., :1])
    nearest = _nearest_within(inside[..., 0])
    if nearest is None:
        return photograph, inside
    found = photograph[nearest]
    before, after = ((each + 1).mean(-1, keepdims=True) for each in (photograph, found))
    return found, inside * np.clip((before + DARKEST) / (after + DARKEST), DARKEST, 1)


def _nearest_within(inside):
    """Index arrays (rows, columns) of each pixel's nearest one within the rim of inside [height, width], or None."""
    from scipy import ndimage

    within = ndimage.distance_transform_edt(np.pad(inside, 1))[1:-1, 1:-1] > min(inside.shape) / RIM
    if within.any():
        return tuple(ndimage.distance_transform_edt(~within, return_distances=False, return_indices=True))


def estimate_field_of_view(image):
    """Finds the bright disc of a fundus photograph against its dark surround.

    The convex hull of the largest region that is brighter than the corners of the frame: the disc, also where the frame
    cuts it, is convex, and its dark rim, fovea and vessels do not break the hull. Of its rim, what has less than a third of
    the light of the nearest pixels within is left out, or a small image would get too large a disc. Measured Dice with
    the fields of view that come with the sets: DRIVE 0.997 (worst 0.995), CHASE_DB1 0.994 (worst 0.977); scaled to 128
    pixels 0.997 (0.995) and 0.993 (0.976).

    Args:
      image: [height, width, channels] uint8 or uint16.

    Returns:
      [height, width, 1] uint8 in {0, 1}; all ones where the corners of the frame are not dark.
    """
    from scipy import ndimage
    from skimage.morphology import convex_hull_image

    everything = np.ones(image.shape[:2] + (1,), np.uint8)
    step = max(1, min(image.shape[:2]) // 512)  # a disc's outline needs no more; large photographs would take seconds
    brightest = image[::step, ::step].max(axis=-1).astype(np.float32)
    corner = max(1, min(brightest.shape) // 40)
    ends = [slice(None, corner), slice(-corner, None)]
    surround = np.median([np.median(brightest[rows, columns]) for rows in ends for columns in ends])
    inside = np.percentile(brightest, 75)
    if surround > 0.2 * inside or inside == 0:
        return everything
    smooth = ndimage.median_filter(brightest, 5)
    regions, count = ndimage.label(smooth > surround + 0.15 * (inside - surround))
    if not count:
        return everything
    sizes = np.bincount(regions.ravel())
    sizes[0] = 0
    hull = convex_hull_image(regions == sizes.argmax())
    nearest = _nearest_within(hull)
    if nearest is not None:
        lit = hull & (brightest - surround >= (smooth[nearest] - surround) / 3)
        hull = convex_hull_image(lit, offset_coordinates=False)
    hull = Image.fromarray(hull.astype(np.uint8))
    return np.array(hull.resize(image.shape[1::-1], Image.Resampling.NEAREST))[..., None]


def frame_box(height, width, size, field_of_view=None):
    """The smallest box around the field of view that has the aspect ratio of `size`;
    the whole frame where there is no field of view.

    Args:
      height, width: of the image, in native pixels.
      size: (height, width) of what will be made of it.
      field_of_view: [height, width, 1] in {0, 1}; None or empty: the whole frame, whatever its aspect ratio.

    Returns:
      Box, centred on what it surrounds; it may reach beyond the image.
    """
    if field_of_view is None or not np.any(field_of_view):
        return Box(0, 0, height, width)
    rows = np.flatnonzero(np.any(field_of_view, axis=(1, 2)))
    columns = np.flatnonzero(np.any(field_of_view, axis=(0, 2)))
    top, left, bottom, right = int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1
    scale = max((bottom - top) / size[0], (right - left) / size[1])
    box_height = max(bottom - top, round(scale * size[0]))
    box_width = max(right - left, round(scale * size[1]))
    return Box(top + (bottom - top - box_height) // 2, left + (right - left - box_width) // 2, box_height, box_width)


def _crop(array, box):
    """[height, width, c] -> [box.height, box.width, c], 0 where the box reaches beyond the array."""
    result = np.zeros((box.height, box.width, array.shape[2]), array.dtype)
    top, left = max(box.top, 0), max(box.left, 0)
    part = array[top : max(box.top + box.height, 0), left : max(box.left + box.width, 0)]
    result[top - box.top : top - box.top + part.shape[0], left - box.left : left - box.left + part.shape[1]] = part
    return result


def _resize(plane, size, resampling):
    """[height, width] -> [*size] float32 by Pillow, whose filters widen when shrinking (antialiasing)."""
    plane = Image.fromarray(np.ascontiguousarray(plane, np.float32))
    return np.array(plane.resize((size[1], size[0]), resampling))


def crop_resize(image, box, size):
    """Cuts the box out of an image and resizes it, antialiased.

    The Hamming filter has no negative lobes: no value leaves the range of the pixels it is made from.

    Args:
      image: [height, width, channels] uint8 or uint16.
      box: Box in native pixels.
      size: (height, width) of the result.

    Returns:
      [*size, channels] of the same dtype; intensities are not scaled.
    """
    cropped = _crop(image, box)
    if (box.height, box.width) == tuple(size):
        return cropped
    planes = [_resize(cropped[..., c], size, Image.Resampling.HAMMING) for c in range(cropped.shape[2])]
    return np.clip(np.rint(np.stack(planes, axis=-1)), 0, np.iinfo(image.dtype).max).astype(image.dtype)


def crop_resize_mask(mask, box, size):
    """Cuts the box out of a mask and resizes it, keeping its area and its connectedness.

    A vessel thinner than a pixel vanishes under area resize and threshold 0.5, and shatters into dots under any lower
    threshold. Here every connected piece of the mask gets as many pixels as its share of the area asks for, and grows
    from its best pixel outwards, always by the neighbour with the highest rank (Prim's algorithm). The rank is the part
    of the pixel that the mask covers, with a bonus where the skeleton of the mask runs through it.

    Args:
      mask: [height, width, 1] in {0, 1}.
      box: Box in native pixels.
      size: (height, width) of the result.

    Returns:
      [*size, 1] uint8 in {0, 1}. Its area fraction is that of the crop, rounded to whole pixels; pieces smaller than
      half a pixel vanish.
    """
    from scipy import ndimage
    from skimage.morphology import skeletonize

    cropped = _crop(mask, box)[..., 0] > 0
    if (box.height, box.width) == tuple(size):
        return cropped.astype(np.uint8)[..., None]
    coverage = _resize(cropped, size, Image.Resampling.BOX)
    skeleton = _resize(skeletonize(cropped), size, Image.Resampling.BOX)
    skeleton *= max(box.height / size[0], box.width / size[1])  # 1 where it runs straight through a pixel
    rank = np.where(coverage > 0, coverage + SKELETON_BONUS * np.minimum(skeleton, 1), 0)
    rank = np.rint(rank * 2**20).astype(np.int64)  # whole numbers: ties do not hang on rounding

    pieces, _ = ndimage.label(cropped, np.ones((3, 3)))
    areas = np.bincount(pieces.ravel())[1:] * (size[0] * size[1] / cropped.size)
    quotas = np.floor(areas + 0.5).astype(np.int64)
    taken = np.zeros(size, bool)
    windows = ndimage.find_objects(pieces)
    for index in np.argsort(-areas, kind="stable"):
        if quotas[index]:
            rows, columns = np.nonzero(pieces[windows[index]] == index + 1)
            rows = (rows + windows[index][0].start) * size[0] // box.height
            columns = (columns + windows[index][1].start) * size[1] // box.width
            best = np.argmax(np.where(taken, -1, rank)[rows, columns])
            _grow(taken, rank, coverage >= 1, (rows[best], columns[best]), quotas[index])

    # What the rounding of the quotas left over or took too much of, and pieces that ran into each other.
    missing = max(round(float(areas.sum())), int(cropped.any())) - int(taken.sum())
    while missing > 0:
        border = (ndimage.binary_dilation(taken, np.ones((3, 3))) if taken.any() else ~taken) & ~taken & (rank > 0)
        candidates = np.flatnonzero(border if border.any() else ~taken)
        candidates = candidates[np.argsort(-rank.ravel()[candidates], kind="stable")][: max(1, missing // 4)]
        taken.ravel()[candidates] = True
        missing -= len(candidates)
    if missing < 0:
        candidates = np.flatnonzero(taken)
        taken.ravel()[candidates[np.argsort(rank.ravel()[candidates], kind="stable")][:-missing]] = False
    return taken.astype(np.uint8)[..., None]


def _grow(taken, rank, full, seed, count):
    """Adds to `taken` up to `count` pixels with rank > 0 that hang together with `seed`, best neighbour first.

    The region of `full` pixels around the seed is added at once where it is no more than that: only a shortcut.
    """
    from scipy import ndimage

    if taken[seed]:
        return
    region = ndimage.label(full & ~taken, np.ones((3, 3)))[0] if full[seed] else None
    if region is not None and (start := region == region[seed]).sum() <= count:
        taken |= start
        count -= int(start.sum())
        border = ndimage.binary_dilation(start, np.ones((3, 3))) & ~taken & (rank > 0)
        heap = [(-int(rank[row, column]), int(row), int(column)) for row, column in np.argwhere(border)]
    else:
        heap = [(0, int(seed[0]), int(seed[1]))]
    heapq.heapify(heap)
    reached = {(row, column) for _, row, column in heap}
    while heap and count:
        _, row, column = heapq.heappop(heap)
        taken[row, column] = True
        count -= 1
        for y in range(max(row - 1, 0), min(row + 2, taken.shape[0])):
            for x in range(max(column - 1, 0), min(column + 2, taken.shape[1])):
                if (y, x) not in reached and rank[y, x] and not taken[y, x]:
                    reached.add((y, x))
                    heapq.heappush(heap, (-int(rank[y, x]), y, x))


def to_uint8(values):
    """[-1, 1] float -> 0..255 uint8, rounded."""
    return np.clip(np.rint((np.asarray(values, np.float32) + 1) * 127.5), 0, 255).astype(np.uint8)


def to_uint16(values):
    """[-1, 1] float -> 0..65535 uint16, rounded."""
    return np.clip(np.rint((np.asarray(values, np.float64) + 1) * 32767.5), 0, 65535).astype(np.uint16)


def to_integers(values, dtype):
    """[-1, 1] float -> all of the range of `dtype`, "uint8" or "uint16", rounded."""
    return to_uint16(values) if dtype == "uint16" else to_uint8(values)


def halvings(size):
    """How often both sides (height, width) can be halved so that the shorter one keeps at least 4 pixels."""
    count = 0
    while all(side % 2 ** (count + 1) == 0 and side >> (count + 1) >= 4 for side in size):
        count += 1
    return count


def uncrop(values, box, native_shape):
    """Puts a map of a cropped and resized image back into the native frame, the inverse of `crop_resize`.

    Args:
      values: [h, w] float, e.g. probabilities.
      box: the Box that the image was cropped by.
      native_shape: (height, width) of the native image.

    Returns:
      [height, width] float32, interpolated bilinearly; 0 outside the box.
    """
    inside = _resize(values, (box.height, box.width), Image.Resampling.BILINEAR)[..., None]
    return _crop(inside, Box(-box.top, -box.left, native_shape[0], native_shape[1]))[..., 0]


def signed_distance_field(mask, scale):
    """Mask -> distance field, which a convolutional generator can move smoothly.

    Args:
      mask: [h, w, 1] in {0, 1}.
      scale: pixels; the distance at which the field reaches tanh(1) = 0.76.

    Returns:
      [h, w, 1] float32 in (-1, 1): tanh(d / scale), d the Euclidean distance in pixels to the outline (half a pixel
      beyond the last pixel of the region), positive inside the mask. Without an outline d is infinite.
    """
    from scipy import ndimage

    inside = np.asarray(mask)[..., 0] > 0
    if inside.all() or not inside.any():
        return np.full(mask.shape, _MAX_FIELD if inside.all() else -_MAX_FIELD, np.float32)
    distance = np.where(
        inside, ndimage.distance_transform_edt(inside) - 0.5, 0.5 - ndimage.distance_transform_edt(~inside)
    )
    return np.clip(np.tanh(distance / scale), -_MAX_FIELD, _MAX_FIELD).astype(np.float32)[..., None]


def mask_from_field(field):
    """Distance field -> uint8 mask of the same shape in {0, 1}; undoes `signed_distance_field` exactly."""
    return (np.asarray(field) > 0).astype(np.uint8)


def wall_and_centreline(mask, scale, width=1.5):
    """Mask -> two smooth fields, of which the first says how wide a vessel is and the second that it goes on.

    The ridge of a vessel of one pixel lies a hair above 0 in a distance field, and whatever moves or shrinks or
    generates the field breaks it into beads. Around the centreline a vessel of any width stands out alike.

    Args:
      mask: [h, w, 1] in {0, 1}.
      scale: pixels, of the distance field.
      width: pixels, of the centreline; the wider, the sooner two vessels side by side run into one.

    Returns:
      [h, w, 2] float32 in [-1, 1]: `signed_distance_field`; 2 exp(-(d / width)^2) - 1, d the distance in pixels to
      the skeleton of the mask.
    """
    from scipy import ndimage
    from skimage.morphology import skeletonize

    skeleton = skeletonize(np.asarray(mask)[..., 0] > 0)
    distance = ndimage.distance_transform_edt(~skeleton) if skeleton.any() else np.full(skeleton.shape, np.inf)
    centreline = 2 * np.exp(-((distance / width) ** 2)) - 1
    return np.concatenate([signed_distance_field(mask, scale), centreline[..., None]], -1, dtype=np.float32)


def mask_from_wall_and_centreline(
    fields, wall=CENTRELINE_WEIGHT / 2, ridge=0.0, smallest=1, weight=CENTRELINE_WEIGHT, joining=False
):
    """The mask of `wall_and_centreline`'s fields:
    what lies within the walls, and the centrelines, at least one pixel wide.

    Args:
      fields: [height, width, 2] float; the first may be a probability of mask instead.
      wall: what the first field and `weight` of the second, taken to 0 to 1, together exceed within the walls.
      ridge: what the second field exceeds where there is a centreline.
      smallest: pixels; pieces (8-connected) of fewer are left out, but never the largest one.
      joining: of the centrelines, only what joins two pieces; see `joined`.

    Returns:
      [height, width, 1] uint8 in {0, 1}.
    """
    from skimage.morphology import skeletonize

    height = fields[..., 0] + weight * (fields[..., 1] + 1) / 2
    walls, centreline = height > wall, skeletonize(fields[..., 1] > ridge)
    mask = joined(walls, centreline) if joining else walls | centreline
    if smallest > 1:
        pieces, sizes = pieces_of(mask)
        kept = sizes >= min(smallest, sizes.max(initial=0))
        mask = np.concatenate([[False], kept])[pieces]
    return mask.astype(np.uint8)[..., None]


def joined(mask, lines):
    """A mask and those parts of the lines outside of it that join two of its pieces, the shortest first,
    and no two pieces twice.

    So what is broken becomes whole, and no loop is closed (Kruskal 1956: a spanning forest).

    Args:
      mask: [height, width] bool. lines: [height, width] bool, a pixel wide; pieces of both are 8-connected.

    Returns:
      [height, width] bool.
    """
    from scipy import ndimage
    from scipy.cluster.hierarchy import DisjointSet

    found, neighbours = mask.copy(), np.ones((3, 3))
    (pieces, sizes), (gaps, lengths) = pieces_of(mask), pieces_of(lines & ~mask)
    boxes, together = ndimage.find_objects(gaps), DisjointSet(range(1, len(sizes) + 1))
    for gap in np.argsort(lengths, kind="stable"):
        box = tuple(slice(max(0, side.start - 1), side.stop + 1) for side in boxes[gap])
        part = gaps[box] == gap + 1
        touched = np.unique(pieces[box][ndimage.binary_dilation(part, neighbours) & mask[box]])
        if len({together[piece] for piece in touched}) > 1:
            found[box] |= part
            for piece in touched[1:]:
                together.merge(touched[0], piece)
    return found


def pieces_of(mask):
    """The 8-connected pieces of a mask [height, width]: (labels from 1 on [height, width], their sizes in pixels)."""
    from scipy import ndimage

    labels, _ = ndimage.label(mask, np.ones((3, 3)))
    return labels, np.bincount(labels.ravel())[1:]


def disc_is_right(mask):
    """Whether the optic disc is in the right half: vessels are thickest where they leave it.

    Args:
      mask: [height, width, 1] in {0, 1}.
    """
    from scipy import ndimage

    thickness = ndimage.distance_transform_edt(mask[..., 0]) ** 3
    columns = np.arange(mask.shape[1]) - (mask.shape[1] - 1) / 2
    return float((thickness.sum(0) * columns).sum()) > 0


def disc_place(mask):
    """(row, column) of the optic disc: where most and the thickest vessels are.

    Args:
      mask: [height, width, 1] in {0, 1}.
    """
    from scipy import ndimage

    thickness = ndimage.gaussian_filter(ndimage.distance_transform_edt(mask[..., 0]) ** 3, min(mask.shape[:2]) / 12)
    return np.unravel_index(thickness.argmax(), thickness.shape)


def area_to_length(masks):
    """Area over skeleton length of all masks together, in pixels: the mean thickness of vessels.

    Args:
      masks: [count, height, width, 1] in {0, 1}.

    Returns:
      float, 1 or more; 0 where all masks are empty.
    """
    from skimage.morphology import skeletonize

    length = sum(int(skeletonize(mask[..., 0] > 0).sum()) for mask in masks)
    return float(np.count_nonzero(masks)) / length if length else 0.0


def wall_of(masks_at, thickness):
    """Where the wall has to be for masks of this mean thickness, by bisection.

    Args:
      masks_at: function wall -> masks [count, height, width, 1] in {0, 1}, thinner the higher the wall is.
      thickness: their `area_to_length`, pixels.

    Returns:
      float, of the ten walls tried the one that comes nearest.
    """
    low, high, tried = -0.5, 0.8, []
    for _ in range(10):
        wall = (low + high) / 2
        excess = area_to_length(masks_at(wall)) - thickness
        tried.append((abs(excess), wall))
        low, high = (wall, high) if excess > 0 else (low, wall)
    return min(tried)[1]
