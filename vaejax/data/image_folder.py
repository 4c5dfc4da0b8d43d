"""A folder of images: PNG, JPEG, WebP and TIFF files, of one size or, with `size`, of any.

    FOLDER/a.png ...                    no labels
    FOLDER/CLASS/.../a.png ...          the first folder below is the label; classes are in the order of the alphabet
    FOLDER/train/..., FOLDER/test/...   splits, each as above; other folders beside them are not read

Without `train` and `test` every 10th image, from the first, is the test split. Files are in the order of their paths;
hidden ones and those of other kinds are skipped.

All images become grey if all are, else RGB. A pixel is its value divided by the largest that there can be: 255, or
65,535 if an image has 16 bits, as grey PNG and TIFF may. Palettes become RGB, CMYK too; what is transparent is before
black; EXIF's orientation is obeyed; of several frames the first is taken. With `size`, the square in the middle is
resized to size x size: averages of pixels where it shrinks, bicubic where it grows.

What is decoded is kept as an npz file in the user's cache folder (`~/.cache/vaejax/images`, or below XDG_CACHE_HOME),
under a checksum of the names, lengths and times of the files and of the size, so that it is decoded once. Above 10 GB
in all, what was not used for longest is deleted. From there images are held, or streamed with a `window`.
"""

import contextlib
import hashlib
import os
import tempfile
import time
import zipfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from PIL import Image, ImageOps
from PIL import __version__ as decoder
from tqdm import tqdm

from vaejax.data.arrays import check_split
from vaejax.data.npz import npz
from vaejax.data.paths import expanded, one_line, reason, shown
from vaejax.data.record import Named
from vaejax.data.source import Arrays, Streamed
from vaejax.data.stream_npz import stream_npz
from vaejax.errors import InputError, check_memory, check_sizes

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff")
GREY = ("1", "L", "LA", "La")  # what Pillow calls images that have no colour
DEEP = ("I", "I;16", "I;16L", "I;16B", "I;16N")  # and those of 16 bits
MOST = 10 * 2**30  # bytes that are kept decoded
BLOCK = 64  # images that are decoded before they are written
PATIENCE = 3.0  # seconds before a progress bar shows
VERSION = 1  # of what is kept


class Listed(NamedTuple):
    """The images of a folder: files of each split and their labels; of one split, `""`, where the folder has none."""

    files: dict[str, list[Path]]
    labels: dict[str, list[int]]
    classes: tuple[str, ...]


class Form(NamedTuple):
    """What all images become: height, width, channels, and whether they have 16 bits."""

    height: int
    width: int
    channels: int
    deep: bool


def image_folder(folder: str, split: str = "train", size: int | None = None) -> Arrays:
    """The images of a folder, held on the device.

    Args:
      size: height and width to which images are resized and cropped; None leaves them, which have to be of one size.

    Raises:
      InputError: an unknown split, no such folder, no images, images of several sizes, one that can't be decoded, or
        more of them than memory holds; or nothing can be kept.
    """
    name = f"images:{folder}"
    file, classes = _decoded(name, folder, split, size)
    check_memory(f"the decoded images of {shown(name)}", file.stat().st_size, "give a window, or a smaller size")
    return npz(str(file), split, name)._replace(classes=classes)


def stream_image_folder(folder: str, split: str, window: int, size: int | None = None) -> Streamed:
    """The images of a folder, `window` at a time.

    Raises:
      InputError: as `image_folder`, but for memory, and as `vaejax.data.stream.streamed`.
    """
    name = f"images:{folder}"
    return stream_npz(str(_decoded(name, folder, split, size)[0]), split, window, name)


def _decoded(name: str, folder: str, split: str, size: int | None) -> tuple[Path, tuple[str, ...]]:
    """The npz file of a folder's images, which is made if it isn't there, and the names of their classes."""
    check_split(name, split)
    check_sizes(size=size)
    listed = _listed(name, expanded(folder, "folder", "images:FOLDER"))
    place = _cache()
    try:
        file = place / f"{_key(listed, folder, size)}.npz"
        if file.exists():
            os.utime(file, ns=(time.time_ns(), file.stat().st_mtime_ns))  # read now, and not changed
            return file, listed.classes
        form = _form(name, listed, size)
        need = sum(map(len, listed.files.values())) * _bytes(form)
        if need > MOST:
            raise InputError(
                f"{shown(name)} takes {need / 1e9:.1f} GB decoded, and {MOST / 1e9:.1f} GB are kept at most; give a "
                "smaller size"
            )
        place.mkdir(parents=True, exist_ok=True)
        _write(name, file, listed, form, size)
        _forget(place, file)
    except OSError as error:
        raise InputError(
            f"{shown(place)} can't be written ({reason(error)}), where decoded images are kept; make room, or set "
            "XDG_CACHE_HOME to another folder"
        ) from error
    return file, listed.classes


def _listed(name: str, folder: Path) -> Listed:
    """The images of a folder.

    Raises:
      InputError: there are none, or no such folder, or only one of `train` and `test`.
    """
    try:
        if not folder.is_dir():
            raise InputError(f"{shown(name)}: no such folder; check the path")
        there = [split for split in ("train", "test") if (folder / split).is_dir()]
        if len(there) == 1:
            raise InputError(
                f"{shown(name)} has a folder {there[0]!r} alone; add the other of train and test, or rename it"
            )
        roots = {split: folder / split for split in there} or {"": folder}
        files = {split: sorted(_found(root), key=lambda file: file.as_posix()) for split, root in roots.items()}
    except (OSError, ValueError) as error:
        raise InputError(f"{shown(name)} can't be read ({reason(error)}); check the folder") from error
    for split, found in files.items():
        if not found:
            where = f"{shown(name)}/{split}".rstrip("/")
            raise InputError(f"{where} has no images; there can be files ending in {', '.join(SUFFIXES)}")
    below = {split: [file.relative_to(roots[split]).parts for file in found] for split, found in files.items()}
    classes = tuple(sorted({parts[0] for each in below.values() for parts in each if len(parts) > 1}))
    number = {one: at for at, one in enumerate(classes)}
    labels = {split: [number[parts[0]] if len(parts) > 1 else -1 for parts in each] for split, each in below.items()}
    return Listed(files, labels, classes)


def _found(root: Path) -> Iterator[Path]:
    """The images below a folder.

    Raises:
      OSError: a folder can't be read.
    """

    def refuse(error: OSError) -> None:
        raise error

    for above, folders, names in os.walk(root, onerror=refuse):
        folders[:] = [each for each in folders if not each.startswith(".")]
        for each in names:
            if each.lower().endswith(SUFFIXES) and not each.startswith("."):
                yield Path(above) / each


def _form(name: str, listed: Listed, size: int | None) -> Form:
    """What all images become, from what each file says of itself.

    Raises:
      InputError: one can't be read, or they are of several sizes and none is given.
    """
    first: tuple[Path, tuple[int, int]] | None = None
    modes = set()
    for file in (file for files in listed.files.values() for file in files):
        mode, shape = _opened(file, _header)
        modes.add(mode)
        first = first or (file, shape)
        if size is None and shape != first[1]:
            sizes = " and ".join(f"{shown(one.name, 40)} {h} x {w}" for one, (h, w) in (first, (file, shape)))
            raise InputError(f"{shown(name)}: images differ in size ({sizes}); give a size to resize and crop them to")
    assert first is not None
    height, width = first[1] if size is None else (size, size)
    return Form(int(height), int(width), 1 if modes <= {*GREY, *DEEP} else 3, bool(modes & set(DEEP)))


def _header(image: Image.Image) -> tuple[str, tuple[int, int]]:
    """Mode, and height and width as it is seen."""
    width, height = image.size
    lying = image.getexif().get(0x0112) in (5, 6, 7, 8)
    return image.mode, (width, height) if lying else (height, width)


def _opened(file: Path, look: Any) -> Any:
    """`look` at an image.

    Raises:
      InputError: it can't be decoded; the line names the file.
    """
    try:
        with Image.open(file) as image:
            return look(image)
    except Exception as error:  # every format's decoder raises its own
        why = one_line(error).replace(str(file), file.name)
        raise InputError(f"{shown(file)} can't be decoded ({shown(why)}); repair or remove it") from error


def _pixels(form: Form, size: int | None, image: Image.Image) -> np.ndarray:
    """The pixels [H, W, C] of an image, uint8 or uint16.

    Raises:
      ValueError: they have more than 16 bits, or fractions.
    """
    if image.mode == "F":
        raise ValueError("its pixels are floats; save 8 or 16 bits")
    image.load()
    seen = ImageOps.exif_transpose(image)
    deep = seen.mode in DEEP
    bands: tuple[Image.Image, ...]
    if deep:
        values = np.asarray(seen).astype(np.int64)
        if values.min() < 0 or values.max() > 65535:
            raise ValueError(f"its pixels run from {values.min()} to {values.max()}; save 8 or 16 bits")
        bands = (Image.fromarray(values.astype(np.float32)),)
    else:
        if seen.has_transparency_data:
            seen = Image.alpha_composite(Image.new("RGBA", seen.size, (0, 0, 0, 255)), seen.convert("RGBA"))
        bands = seen.convert("L" if form.channels == 1 else "RGB").split()
    found = np.stack([np.asarray(band if size is None else _square(band, size)) for band in bands], axis=-1)
    found = np.clip(np.rint(found), 0, 65535 if deep else 255).astype(np.uint16)
    found *= np.uint16(257 if form.deep and not deep else 1)
    found = np.broadcast_to(found, (form.height, form.width, form.channels))
    return found.astype(np.uint16 if form.deep else np.uint8)


def _square(band: Image.Image, size: int) -> Image.Image:
    """The middle of one channel, size x size, in floats: Pillow rounds bytes once along each axis, and these not."""
    side = min(band.size)
    left, top = ((length - side) // 2 for length in band.size)
    middle = band.crop((left, top, left + side, top + side))
    if side == size:
        return middle
    filter_ = Image.Resampling.BOX if side > size else Image.Resampling.BICUBIC
    return middle.convert("F").resize((size, size), filter_)


def _write(name: str, file: Path, listed: Listed, form: Form, size: int | None) -> None:
    """Decodes all images into an npz file, which is there as a whole or not at all.

    Raises:
      InputError: one can't be decoded.
      OSError: the file can't be written.
    """
    total = sum(map(len, listed.files.values()))
    handle, part = tempfile.mkstemp(suffix=".part", dir=file.parent)
    try:
        with (
            os.fdopen(handle, "wb") as raw,
            zipfile.ZipFile(raw, "w") as archive,
            ThreadPoolExecutor(os.cpu_count()) as pool,
            tqdm(total=total, desc=f"decoding {shown(name)}", unit="image", delay=PATIENCE, leave=False) as bar,
        ):
            look = partial(_opened, look=partial(_pixels, form, size))
            for split, files in listed.files.items():
                suffix = "_test" if split == "test" else ""
                with archive.open(f"x{suffix}.npy", "w", force_zip64=True) as out:
                    _header_of(out, (len(files), *form[:3]), np.dtype(np.uint16 if form.deep else np.uint8))
                    for start in range(0, len(files), BLOCK):
                        for pixels in pool.map(look, files[start : start + BLOCK]):
                            out.write(pixels.tobytes())
                            bar.update()
                if listed.classes:
                    _member(archive, f"label{suffix}", np.array(listed.labels[split], np.int32))
            _member(archive, "white", np.array(65535 if form.deep else 255))
        os.replace(part, file)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(part)


def _member(archive: zipfile.ZipFile, key: str, values: np.ndarray) -> None:
    with archive.open(f"{key}.npy", "w") as out:
        np.lib.format.write_array(out, values)  # pyright: ignore


def _header_of(out: IO[bytes], shape: Sequence[int], dtype: np.dtype) -> None:
    """What stands before an array in a file of NumPy's."""
    about = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": tuple(shape)}
    np.lib.format.write_array_header_1_0(out, about)  # pyright: ignore


def _bytes(form: Form) -> int:
    """Of one image."""
    return form.height * form.width * form.channels * (2 if form.deep else 1)


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")) / "vaejax" / "images"


def _key(listed: Listed, folder: str, size: int | None) -> str:
    """The checksum of what there is to decode, without decoding it.

    Raises:
      OSError: a file is gone.
    """
    root = expanded(folder, "folder", "images:FOLDER")
    digest = hashlib.sha256(repr((VERSION, decoder, None if size is None else int(size))).encode())
    for split, files in listed.files.items():
        for file in files:
            found = file.stat()
            what = (split, file.relative_to(root).as_posix(), found.st_size, found.st_mtime_ns)
            digest.update(repr(what).encode("utf-8", "surrogateescape"))
    return digest.hexdigest()[:32]


def _forget(place: Path, newest: Path) -> None:
    """Deletes what was not used for longest, until what is kept is small enough; never the newest."""
    kept = sorted(place.glob("*.npz"), key=lambda file: file.stat().st_atime_ns)
    total = sum(file.stat().st_size for file in kept)
    for file in kept:
        if total <= MOST or file == newest:
            continue
        total -= file.stat().st_size
        file.unlink(missing_ok=True)


IMAGES = Named("images:FOLDER", image_folder, sized=True, stream=stream_image_folder)
