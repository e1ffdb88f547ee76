"""Which image a cell of a table names: by its path or name, with or without ending, whatever the case of letters."""

from synthmed_tf.datasets.files import SPLITS, fold_name, has_image_suffix
from synthmed_tf.datasets.pairing import is_called_images


class FileNames:
    """What a table may call images.

    That is the path below their folder, with or without folders such as images/, with or without further folders before
    it; or the file's name where one image alone has it in its split. Endings may lack, or be those of another format.

    Args:
      images: {path with /: File}.
    """

    def __init__(self, images):
        self.whole, self.short = {}, {}  # {what it may be called: paths}
        self.found = {}  # what was looked for before, as columns repeat
        for path in images:
            *folders, name = path.split("/")
            bare = "/".join([*(folder for folder in folders if not is_called_images(folder)), name])
            for called, calls in ((self.whole, {path, f"images/{path}", bare}), (self.short, {name})):
                spellings = {spelling for call in calls for spelling in (call, _drop_ending(call))}
                for spelling in spellings | {fold_name(spelling) for spelling in spellings}:
                    called.setdefault(spelling, set()).add(path)

    def find(self, cell, split=None):
        """The path of the image that a cell names; None where it names none, or several. split: of its row, if told."""
        if (cell, split) not in self.found:
            self.found[cell, split] = self._look_for(cell, split)
        return self.found[cell, split]

    def _look_for(self, cell, split):
        call = cell.replace("\\", "/").removeprefix("./")
        parts = call.split("/")
        tails = ["/".join(parts[start:]) for start in range(1, len(parts))]
        endless = [_drop_ending(call)] * has_image_suffix(call)
        for name in (call, fold_name(call), *endless, *map(fold_name, endless)):
            for called in (self.whole, self.short):
                paths = called.get(name, set())
                if name == call and call in paths:
                    return call
                fitting = [path for path in paths if split and SPLITS.get(path.split("/")[0].lower()) == split]
                for chosen in (paths, fitting):
                    if len(chosen) == 1:
                        return next(iter(chosen))
        paths = next((self.whole[tail] for tail in map(fold_name, tails) if tail in self.whole), ())
        return next(iter(paths)) if len(paths) == 1 else None


def _drop_ending(name):
    return name.rsplit(".", 1)[0] if has_image_suffix(name) else name
