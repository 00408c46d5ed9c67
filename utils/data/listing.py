"""Which files of a folder or zip are pictures, and which pictures are a split's. No file is read."""

import errno
import os
import posixpath
import re
import stat

from utils.cli import UserError

EXTENSIONS = (
    ".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm",
)  # fmt: skip
# What systems put beside a user's pictures. Hidden files, whose names begin with a dot, are skipped too.
SYSTEM_FOLDERS = (
    "__macosx", "@eadir", "#recycle", "$recycle.bin", "system volume information", "lost+found",
)  # fmt: skip
SPLITS = {  # {split: names of its folder, the best first}
    "train": ("train", "training"),
    "test": ("test", "testing", "val", "valid", "validation", "eval", "dev"),
}

# Why a file is left out.
DEAD, OTHER = "dead links", "other endings"
LOOP, SPECIAL = "links in a circle or to what is read already", "pipes, devices or links in a zip"


class Listing:
    """The pictures found, and what was left out.

    stored: {name: name in the folder or zip}. Names are relative, with slashes and without ".", whatever
    system wrote the files. left_out: {reason: names}.
    """

    def __init__(self):
        self.stored, self.left_out = {}, {}

    def add(self, stored):
        """Add a regular file by its stored name. Hidden ones are skipped."""
        name = posixpath.normpath("/" + stored.replace("\\", "/")).lstrip("/")
        if _is_hidden(name):
            return
        if name.lower().endswith(EXTENSIONS):
            self.stored[name] = stored
        else:
            self.leave_out(OTHER, name)

    def leave_out(self, reason, name):
        """Leave out a file, for a reason that is a plural."""
        self.left_out.setdefault(reason, []).append(name)

    def summary(self):
        """What was left out, in words; "" if nothing was."""
        parts = []
        for reason, names in self.left_out.items():
            shown = sorted(names)[:3] + ["..."] * (len(names) > 3)
            parts.append(f"{reason} ({len(names)}: {', '.join(shown)})")
        return ", ".join(parts)


def folder_listing(folder):
    """The files below a folder. Links are followed, but no folder is read twice."""
    listing, waiting, seen = Listing(), [""], {os.path.realpath(folder)}
    try:
        while waiting:
            inside = waiting.pop()
            with os.scandir(folder / inside) as entries:
                for entry in sorted(entries, key=lambda entry: entry.name):
                    name = inside + entry.name
                    if _is_hidden(entry.name):
                        continue
                    kind = _kind(entry)
                    if kind == stat.S_IFREG:
                        listing.add(name)
                    elif kind != stat.S_IFDIR:
                        listing.leave_out(kind if kind in (DEAD, LOOP) else SPECIAL, name)
                    elif (real := os.path.realpath(entry.path)) in seen:
                        listing.leave_out(LOOP, name)
                    else:
                        seen.add(real)
                        waiting.append(name + "/")
    except OSError as error:
        reason = f"cannot read {error.filename} ({error.strerror})"
        raise UserError(f"--data_path: {reason}; mend its permissions") from error
    return listing


def _kind(entry):
    """The type of what an entry leads to, as stat has it; or DEAD, or LOOP."""
    try:
        return stat.S_IFMT(entry.stat().st_mode)
    except FileNotFoundError:
        return DEAD
    except OSError as error:
        if error.errno == errno.ELOOP:
            return LOOP
        if error.errno in (errno.ENOTDIR, errno.ENAMETOOLONG) and entry.is_symlink():
            return DEAD
        raise


def zip_listing(members):
    """The files among the ZipInfo of a zip's members. Of two with one name the last one counts."""
    listing = Listing()
    for member in members:
        kind = stat.S_IFMT(member.external_attr >> 16) if member.create_system == 3 else 0
        if kind in (0, stat.S_IFREG):
            if not member.is_dir() and not member.filename.endswith("\\"):
                listing.add(member.filename)
        elif kind != stat.S_IFDIR and not _is_hidden(member.filename):
            listing.leave_out(SPECIAL, member.filename)
    return listing


def _is_hidden(name):
    return any(part.startswith(".") or part.lower() in SYSTEM_FOLDERS for part in name.split("/"))


def select_split(listing, data_path, split):
    """(sorted names of a split's pictures, warnings or None): what is left out, and splits by other names."""
    names = sorted(listing.stored)
    if not names:
        found = f", but {listing.summary()}" if listing.left_out else ""
        cure = f"known endings: {' '.join(EXTENSIONS)}"
        raise UserError(f"--data_path: no images in {data_path}{found}; {cure}")
    left_out = sum(map(len, listing.left_out.values()))
    of_all = f"{left_out} of {left_out + len(names)} files in {data_path}"
    warning = f"{of_all} are left out: {listing.summary()}" if left_out else None
    prefix = wrapping(names)
    below = [name.removeprefix(prefix) for name in names]
    folders = {name.partition("/")[0] for name in below if "/" in name}
    chosen = {each: _best_match(folders, each) for each in SPLITS}
    if None not in chosen.values():
        selected = [name for name in names if name.startswith(f"{prefix}{chosen[split]}/")]
        return selected, (warning, _other_names(names, prefix, chosen, data_path))
    if split == "test":
        cure = "put its images into sub-folders train/ and test/"
        raise UserError(f"--data_path: {data_path} has no test split; {cure}")
    return names, (warning, _deeper_splits(names, data_path))


def wrapping(names):
    """The folders around all these names, such as "archive/data/": in there are splits or classes."""
    prefix = ""
    while all("/" in name.removeprefix(prefix) for name in names):
        tops = {name.removeprefix(prefix).partition("/")[0] for name in names}
        if len(tops) > 1:
            break
        prefix += tops.pop() + "/"
    return prefix


def _best_match(folders, split):
    """The folder with a split's name, such as train, Train, training_set or train2017, or None."""
    found = []
    for folder in folders:
        for rank, word in enumerate(SPLITS[split]):
            if re.fullmatch(rf"{word}(?:[\W_\d].*|_?sets?)?", folder.lower()):
                found.append((folder != word, rank, folder))
    return min(found)[-1] if found else None


def _other_names(names, prefix, chosen, data_path):
    """A line that says what was taken for what; None if the folders are just train/ and test/."""
    folders = tuple(f"{prefix}{folder}/" for folder in chosen.values())
    others = [name for name in names if not name.startswith(folders)]
    if others or chosen != {split: split for split in chosen}:
        taken = " and ".join(f"{chosen[split]}/ for the {split} split" for split in chosen)
        left_out = f", {len(others)} other images are left out ({others[0]}, ...)" if others else ""
        return f"in {data_path}, {taken}{left_out}"
    return None


def _deeper_splits(names, data_path):
    """A line on folders train/ and test/ deeper down, which are not taken for splits; None without any."""
    below = {}
    for folder in {part for name in names for part in _parents(name)}:
        below.setdefault(posixpath.dirname(folder), set()).add(posixpath.basename(folder))
    for folder in sorted(below):
        splits = [_best_match(below[folder], split) for split in SPLITS]
        if None not in splits:
            both = " and ".join(f"{folder}/{split}" for split in splits)
            alone = data_path / folder if data_path.is_dir() else f"a zip of {folder} alone"
            all_of_them = f"all {len(names)} images in {data_path}, with those of {both}"
            return f"{all_of_them}, are one split; to separate them, give {alone}"
    return None


def _parents(name):
    while name := posixpath.dirname(name):
        yield name
