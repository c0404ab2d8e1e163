"""A server under test, and the ways to wait for what it does."""

import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import threading
import time

# Nothing here takes longer, even on a busy machine.
PATIENCE = 90


# Everything that was started; ended at the end, whatever happens.
STARTED = []


class TimedOut(Exception):
    pass


def demand(holds, what):
    if not holds:
        sys.exit(f"{pathlib.Path(sys.argv[0]).stem}: {what}")


def start(command, **pipes):
    process = subprocess.Popen(command, text=True, env=environment(), **pipes)
    STARTED.append(process)
    return process


def end_all():
    for process in STARTED:
        process.kill()
        process.wait()


def environment(**more):
    """Nothing that whoever runs this has configured counts."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CAUSERIE_")}
    return kept | {"XDG_CONFIG_HOME": "/nonexistent"} | more


def until(what, condition):
    """Waits for what must come."""
    end = time.monotonic() + PATIENCE
    while not (found := condition()):
        if time.monotonic() > end:
            raise TimedOut(f"waited {PATIENCE} s for {what}")
        time.sleep(0.01)
    return found


class Server:
    """`causerie serve` on a free port, which it keeps when it is started again."""

    def __init__(self, program, folder, *options):
        self.program, self.folder, self.options = program, folder, options
        self.port = 0
        self.start()

    def start(self):
        command = [self.program, "serve", "--listen", f"127.0.0.1:{self.port}", "--data", self.folder, "--log", "warn"]
        self.process = start([*command, *self.options], stdout=subprocess.PIPE)
        told = []
        for line in self.process.stdout:
            told.append(line)
            if found := re.search(r"listening on 127\.0\.0\.1:(\d+)", line):
                self.port = int(found[1])
                break
        else:
            raise RuntimeError(f"the server does not start: {''.join(told)}")
        # What else it says is not of interest, but has to go somewhere.
        threading.Thread(target=self.process.stdout.read, daemon=True).start()

    def run(self, *words):
        """What a command of ours says that uses it."""
        command = [self.program, *words, "--server", f"127.0.0.1:{self.port}"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, env=environment())
        demand(done.returncode == 0, f"{command}: {done.stderr}")
        return done.stdout

    def log(self, room):
        """All records of a room."""
        return [json.loads(line) for line in self.run("history", room, "--since", "1", "--json").splitlines()]

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        if self.process.wait(PATIENCE) != 0:
            raise RuntimeError(f"the server ended with {self.process.returncode}")
