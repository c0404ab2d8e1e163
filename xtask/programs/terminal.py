"""`causerie chat` in tmux: two people, a server that is killed, ten thousand messages, any size, a long paste, and kill -9.

    python terminal.py PATH-TO-CAUSERIE

`cargo xtask terminal` runs this. Nothing beside Python's own library and tmux is needed.
"""

import os
import pathlib
import signal
import subprocess
import sys
import tempfile

from server import Server, TimedOut, demand, end_all, environment, start, until

ROOM = "lobby"
MESSAGES = 10_000
LINES = 200


class Tmux:
    """A tmux of its own, which no configuration of anybody reaches."""

    def __init__(self, folder):
        self.folder = folder
        self("new-session", "-d", "-x", "80", "-y", "24", "-s", "idle", "sleep 100000")
        self("set", "-g", "status", "off")
        self("set", "-s", "escape-time", "0")
        self("set", "-g", "remain-on-exit", "on")

    def __call__(self, *words, text=None):
        command = ["tmux", "-S", f"{self.folder}/tmux", "-f", "/dev/null", *words]
        done = subprocess.run(command, input=text, text=True, capture_output=True, timeout=60, env=environment(LC_ALL="C.UTF-8"))
        demand(done.returncode == 0, f"{command}: {done.stderr}")
        return done.stdout

    def end(self):
        self("kill-server")


class Chat:
    """One window with the full-screen client in it."""

    def __init__(self, tmux, program, port, name):
        self.tmux, self.name = tmux, name
        self.command = [program, "chat", f"127.0.0.1:{port}", "--room", ROOM, "--name", name, "--state", f"{tmux.folder}/{name}"]
        tmux("new-session", "-d", "-x", "80", "-y", "24", "-s", name, *self.command)
        self.shows("connected to")

    def shown(self):
        return self.tmux("capture-pane", "-p", "-t", self.name)

    def of_pane(self, variable):
        return self.tmux("display-message", "-p", "-t", self.name, f"#{{{variable}}}").strip()

    def until(self, what, is_so):
        try:
            until(f"{what} on {self.name}'s screen", lambda: is_so(self.shown()))
        except TimedOut as error:
            demand(False, f"{error}:\n{self.shown()}")

    def shows(self, *parts):
        """Until all of them are on the screen."""
        self.until(parts, lambda shown: all(part in shown for part in parts))

    def shows_no(self, part):
        self.until(f"no {part}", lambda shown: part not in shown)

    def types(self, text):
        self.tmux("send-keys", "-t", self.name, "-l", text)

    def presses(self, *keys):
        self.tmux("send-keys", "-t", self.name, *keys)

    def says(self, text):
        self.types(text)
        self.presses("Enter")

    def resize(self, columns, lines):
        self.tmux("resize-window", "-t", self.name, "-x", str(columns), "-y", str(lines))

    def drafts(self):
        return [path.read_text() for path in pathlib.Path(self.tmux.folder, self.name).glob("*.draft")]

    def kill(self):
        os.kill(int(self.of_pane("pane_pid")), signal.SIGKILL)
        until("the end of it", lambda: self.of_pane("pane_dead") == "1")
        self.tmux("respawn-pane", "-k", "-t", self.name, *self.command)


def people_talk(ann, raj):
    raj.says("shall we have lunch?")
    ann.shows("Raj: shall we have lunch?")
    ann.says("yes, where?")
    raj.shows("Ann: yes, where?")
    raj.says("where it was good")
    # Raj has seen the question.
    ann.shows("✓✓")
    # An answer: the newest message is chosen, and the one before it, which is Ann's, and the one before that.
    ann.presses("Escape")
    ann.shows("r reply")
    ann.presses("Up", "Up", "r")
    ann.shows("reply to Raj")
    ann.says("at noon")
    raj.shows("Ann: at noon", "╭ Raj: shall we have lunch?")


def the_server_is_killed(ann, raj, server):
    server.kill()
    ann.shows("connection lost")
    ann.says("said without a server")
    ann.shows("1 on their way")
    ann.types("half wri")
    ann.shows("Ann> half wri")
    server.start()
    raj.shows("Ann: said without a server")
    ann.shows("connected to")
    ann.shows_no("on their way")
    ann.says("tten")
    raj.shows("Ann: half written")


def long_ago_is_scrolled_to(ann, program, port, folder):
    command = [program, "chat", f"127.0.0.1:{port}", "--room", ROOM, "--name", "Bob", "--plain", "--state", f"{folder}/bob"]
    bob = start(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    bob.communicate("".join(f"message {n}.\n" for n in range(1, MESSAGES + 1)), timeout=90)
    demand(bob.returncode == 0, f"Bob's client ended with {bob.returncode}")
    ann.shows(f"Bob: message {MESSAGES}.")

    def is_at_the_first():
        ann.presses("-N", "20", "PageUp")
        return "Bob: message 1." in ann.shown()

    until("the first message", is_at_the_first)
    # What is read stays where it is, at any size.
    ann.resize(40, 10)
    ann.shows_no("│ Raj")
    ann.resize(80, 24)
    ann.shows("│ Raj")
    ann.presses("End")
    ann.shows(f"Bob: message {MESSAGES}.")


def lines_are_pasted(ann, raj, tmux):
    tmux("load-buffer", "-b", "lines", "-", text="".join(f"line {n}\n" for n in range(1, LINES + 1)))
    tmux("paste-buffer", "-p", "-b", "lines", "-t", ann.name)
    ann.shows(f"Paste {LINES} lines")
    ann.types("y")
    ann.shows(f"line {LINES}")
    ann.presses("Enter")
    raj.shows(f"line {LINES}")


def a_client_is_killed(ann):
    ann.types("not sent y")
    ann.shows("Ann> not sent y")
    until("the text on the disk", lambda: "not sent y" in ann.drafts())
    ann.kill()
    ann.shows("connected to", "Ann> not sent y")
    ann.says("et")
    ann.shows("Ann: not sent yet")


def main():
    program = sys.argv[1]
    with tempfile.TemporaryDirectory(prefix="causerie-terminal-") as folder:
        server = Server(program, f"{folder}/data")
        server.run("rooms", "create", ROOM)
        tmux = Tmux(folder)
        try:
            ann, raj = (Chat(tmux, program, server.port, name) for name in ("Ann", "Raj"))
            people_talk(ann, raj)
            the_server_is_killed(ann, raj, server)
            long_ago_is_scrolled_to(ann, program, server.port, folder)
            lines_are_pasted(ann, raj, tmux)
            a_client_is_killed(ann)
            raj.shows("Ann: not sent yet")
            for chat in (ann, raj):
                chat.presses("C-c")
                # (tmux does not always know the status with which it ended.)
                until(f"{chat.name} to leave", lambda: chat.of_pane("pane_dead") == "1")
                demand(chat.of_pane("alternate_on") == "0", f"{chat.name}'s terminal is not as it was")
            said = [(record["author"], record["text"]) for record in server.log(ROOM) if "text" in record]
        finally:
            tmux.end()
        expected = [("Raj", "shall we have lunch?"), ("Ann", "yes, where?"), ("Raj", "where it was good"), ("Ann", "at noon"), ("Ann", "said without a server"),
                    ("Ann", "half written")]
        expected += [("Bob", f"message {n}.") for n in range(1, MESSAGES + 1)]
        pasted = "\n".join(f"line {n}" for n in range(1, LINES + 1))
        expected += [("Ann", pasted), ("Ann", "not sent yet")]
        demand([(name, text.rstrip("\n")) for name, text in said] == expected, f"something was lost, or said twice: {said[:6]} {said[-3:]}")
        server.stop()
        print(f"  tmux: {len(said)} texts, each once; a reply, a server and a client killed, back to the first, 40 by 10, {LINES} lines pasted")


if __name__ == "__main__":
    try:
        main()
    finally:
        end_all()
