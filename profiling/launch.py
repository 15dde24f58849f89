"""Starts a program and reports when its first byte of output came and how much memory it took at most.

    python3 -S -E launch.py PROGRAM [ARGUMENT...] < INPUT     prints {"first_ms": .., "total_ms": .., "peak_rss_mb": ..}

It exists because Linux lets a started program inherit the peak of the process that starts it: the benchmark itself, with its
numpy, would lend every small program its own size. This one takes about 10 MB, which is the least that it can report.
"""
import json
import os
import sys
import time


def main():
    reading, writing = os.pipe()
    start = time.perf_counter()
    child = os.fork()
    if child == 0:
        os.dup2(writing, 1)
        try:
            os.execvp(sys.argv[1], sys.argv[1:])
        finally:
            os._exit(127)
    os.close(writing)
    first = os.read(reading, 1)
    first_ms = (time.perf_counter() - start) * 1e3
    while first and os.read(reading, 65536):
        pass
    _, status, usage = os.wait4(child, 0)
    if status or not first:
        print(json.dumps({"error": f"ended with status {os.waitstatus_to_exitcode(status)}" if status else "printed nothing"}))
        return 1
    print(json.dumps({"first_ms": first_ms, "total_ms": (time.perf_counter() - start) * 1e3, "peak_rss_mb": usage.ru_maxrss * 1024 / 1e6}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
