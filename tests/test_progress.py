import io
import sys

import pytest

from synthmed_tf import progress


class Stderr(io.StringIO):
    def __init__(self, is_terminal):
        super().__init__()
        self.is_terminal = is_terminal

    def isatty(self):
        return self.is_terminal


@pytest.mark.parametrize(("is_terminal", "seconds"), [(True, 1), (False, 20)])
def test_a_bar_writes_seldom_into_a_log_and_passes_its_items_on(monkeypatch, is_terminal, seconds):
    stderr = Stderr(is_terminal)
    monkeypatch.setattr(sys, "stderr", stderr)
    bar = progress.show_progress(range(10000), "counting", unit="number")
    assert (bar.mininterval, bar.maxinterval) == (seconds, max(10, seconds))
    assert list(bar) == list(range(10000))
    written = stderr.getvalue()
    assert written.count("counting") < 5 and "10000/10000" in written
