"""Runs a command and says what it cost, with all the processes that it waited for.

Usage: measure.py REPORT LIMIT COMMAND...   (LIMIT in seconds; REPORT gets JSON)

Python, since wait4(2) is what knows this of one child, and Node.js has no way to call it.
"""

import json
import os
import signal
import subprocess
import sys
import time


class TooLong(Exception):
    pass


def too_long(*_):
    raise TooLong


def main(report, limit, *command):
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    signal.signal(signal.SIGALRM, too_long)
    begin = time.monotonic()
    # A session of its own, so that at the limit all its processes are ended.
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
    ended = None
    try:
        signal.setitimer(signal.ITIMER_REAL, float(limit))
        ended = os.wait4(child.pid, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
    except TooLong:
        pass
    finally:
        wall = time.monotonic() - begin
        if ended is None:
            os.killpg(child.pid, signal.SIGKILL)
    in_time = ended is not None
    _, status, usage = ended or os.wait4(child.pid, 0)
    with open(report, "w", encoding="utf-8") as file:
        json.dump(
            {
                "code": os.waitstatus_to_exitcode(status),
                "inTime": in_time,
                "wallSeconds": wall,
                "cpuSeconds": usage.ru_utime + usage.ru_stime,
                # Kilobytes on Linux, bytes on macOS.
                "peakBytes": usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024),
            },
            file,
        )


main(*sys.argv[1:])
