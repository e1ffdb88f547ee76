"""One function of many items, on all cores: by processes that import neither TensorFlow nor the script that runs."""

import collections
import os
import pickle
import signal
import subprocess
import sys
import traceback
import warnings

from synthmed_tf.sample import InputError

AHEAD = 4  # items that a process has been sent and not yet been asked for: bounds what is held in memory
_SERVE = "from synthmed_tf import workers; workers.serve()"


def cores():
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_order(function, items, count):
    """Yields function(item) for each item, in the order of the items.

    Results do not depend on `count`. A process that is no longer needed ends, also where this one is killed.

    Args:
      function: and its results can be pickled. An item that cannot, such as a file in a zip, is done in this process.
      items: iterable.
      count: number of processes; 1: this one.

    Raises:
      InputError: a process was killed. And what the function raises, when it is the item's turn.
    """
    if count == 1:
        yield from map(function, items)
        return
    processes = [_start(function) for _ in range(count)]
    waiting, shown = collections.deque(), {}
    try:
        for index, item in enumerate(items):
            if len(waiting) == AHEAD * count:
                yield waiting.popleft()()
            waiting.append(_send(processes[index % count], function, item, shown))
        while waiting:
            yield waiting.popleft()()
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def _start(function):
    """A process that waits for items; in a session of its own, so that Ctrl-C is this process's to handle."""
    process = subprocess.Popen(
        [sys.executable, "-c", _SERVE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        start_new_session=True,
    )
    process.stdin.write(pickle.dumps(function))
    return process


def _send(process, function, item, shown):
    """Sends an item; returns a function that waits for the result. shown: registry of the warnings so far."""
    try:
        message = pickle.dumps(item)
    except (AttributeError, TypeError, pickle.PicklingError):
        return lambda: function(item)

    def receive():
        try:
            result, error, trace, said = pickle.load(process.stdout)
        except (EOFError, OSError, pickle.UnpicklingError) as lost:
            raise _killed(process) from lost
        for warning in said:
            warnings.warn_explicit(*warning, registry=shown)
        if error:
            raise error from RuntimeError(trace)
        return result

    try:
        process.stdin.write(message)
        process.stdin.flush()
    except OSError as lost:
        raise _killed(process) from lost
    return receive


def _killed(process):
    return InputError(
        f"a process that reads images was killed (status {process.wait()}), as systems do that run out of memory; close other "
        "programs, or give it fewer cores, such as by taskset --cpu-list 0"
    )


def serve():
    """Answers, on stdout, the items that `in_order` sends to stdin. What else would be printed goes to stderr."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    if hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # nobody waits for the answer any more
    function = pickle.load(sys.stdin.buffer)
    while True:
        try:
            item = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        result = error = trace = None
        with warnings.catch_warnings(record=True) as caught:
            try:
                result = function(item)
            except Exception as raised:  # whatever it is, it is raised where the results are wanted
                error, trace = raised, traceback.format_exc()
        said = [(each.message, each.category, each.filename, each.lineno) for each in caught]
        answers.write(pickle.dumps((result, error, trace, said)))
        answers.flush()
