#!/usr/bin/env python3
"""start.py RECTO RECTO_WITHOUT_CUDA MAKE_RANDOM_MODEL: a command with CUDA in it starts within 5 ms of one without, on a machine that
has no driver. Both are started in turn; of many starts the quickest counts, since whatever else the machine does only adds. Exits 77
where there is a driver: it may take as long as it likes to find a GPU."""
import os
import subprocess
import sys
import tempfile
import time

MOST_MS, STARTS, TRIES = 5.0, 25, 4


def start_ms(command, environment):
    begun = time.perf_counter()
    silence = [(os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0), (os.POSIX_SPAWN_OPEN, 2, "/dev/null", os.O_WRONLY, 0)]
    _, status = os.waitpid(os.posix_spawn(command[0], command, environment, file_actions=silence), 0)
    if status:
        sys.exit(f"{' '.join(command)} ended with status {os.waitstatus_to_exitcode(status)}")
    return (time.perf_counter() - begun) * 1e3


def quickest(programs, arguments, environment):
    """Of each program."""
    times = [[start_ms([program, *arguments], environment) for program in programs] for _ in range(STARTS)]
    return [min(column) for column in zip(*times)]


def is_near(what, programs, arguments, environment):
    best = [float("inf")] * len(programs)
    for _ in range(TRIES):
        best = [min(pair) for pair in zip(best, quickest(programs, arguments, environment))]
        if best[0] - best[1] <= MOST_MS:
            break
    print(f"{what}: {best[0]:.2f} ms with CUDA, {best[1]:.2f} without")
    return best[0] - best[1] <= MOST_MS


def main():
    *programs, make_model = sys.argv[1:]
    if os.path.exists("/dev/nvidiactl"):
        print("skipped: this machine has a driver")
        return 77
    with tempfile.TemporaryDirectory() as folder:
        environment = dict(os.environ, RECTO_CACHE=folder, RECTO_DEVICE="auto")
        subprocess.run([make_model, "minilm-l6", f"{folder}/model"], check=True)
        with open(f"{folder}/text", "w", encoding="utf-8") as file:
            file.write("a few letters\n")
        embed = ["embed", "--model", f"{folder}/model", "--format", "npy", "--output", f"{folder}/vectors.npy", f"{folder}/text"]
        near = [is_near("recto --version", programs, ["--version"], environment),
                is_near("one text", programs, embed, environment)]
        if not all(near):
            print(f"expected at most {MOST_MS} ms more")
        return 0 if all(near) else 1


if __name__ == "__main__":
    sys.exit(main())
