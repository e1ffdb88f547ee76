"""Progress bars: in a terminal one line that moves, in a log file a line every 20 seconds."""

import sys

from tqdm import tqdm


def show_progress(iterable=None, desc=None, **options):
    """tqdm's bar over `iterable`, or one to be updated by hand.

    options: tqdm's total, initial, unit, delay, disable.
    """
    seconds = 1 if sys.stderr.isatty() else 20
    return tqdm(iterable, desc, dynamic_ncols=True, mininterval=seconds, maxinterval=max(10, seconds), **options)
