"""Clients of every kind in one room. What a client is told goes into `heard`, in its order."""

import json
import socket
import subprocess
import threading
import time

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from causal import name_of
from server import start, until


def curl(url, body=None, token=None, method=None, retry=False):
    """The answer's status and its text. With `retry` it goes on until there is an answer."""
    command = ["curl", "--silent", "--show-error", "--max-time", "30", "--write-out", "\n%{http_code}", url]
    if body is not None:
        command += ["--header", "Content-Type: application/json", "--data-binary", json.dumps(body)]
    if token:
        command += ["--header", f"Authorization: Bearer {token}"]
    if method:
        command += ["--request", method]
    def ask():
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode == 0:
            return done.stdout.rpartition("\n")
        if not retry:
            raise RuntimeError(f"curl ended with {done.returncode}: {done.stderr}")
        return None

    text, _, status = until(f"an answer from {url}", ask)
    return int(status), text


class Client:
    """Somebody in the room."""

    # Whether it is told what it says itself, too.
    hears_itself = True

    def __init__(self, name, server):
        self.name, self.server = name, server
        self.heard = []
        self.lock = threading.Lock()
        self.over = False
        self.trouble = None

    def run(self, work):
        def guarded():
            try:
                work()
            except Exception as error:  # noqa: BLE001 - whatever it is, the test fails with it
                if not self.over:
                    self.trouble = error

        threading.Thread(target=guarded, daemon=True).start()

    def note(self, line):
        if name := name_of(line):
            with self.lock:
                self.heard.append(name)

    def told(self):
        if self.trouble:
            raise self.trouble
        with self.lock:
            return list(self.heard)


class Curl(Client):
    """A script: asks again and again, and answers by replies."""

    def __init__(self, name, server, room):
        super().__init__(name, server)
        self.at = f"{server.url}/api/rooms/{room}"
        status, text = curl(f"{self.at}/members", {"name": name})
        assert status == 201, text
        welcome = json.loads(text)
        self.token, self.position = welcome["token"], welcome["position"]
        self.ids = {}
        self.run(self.poll)

    def poll(self):
        while not self.over:
            status, text = curl(f"{self.at}/messages?after={self.position}&limit=7", retry=True)
            assert status == 200, text
            page = json.loads(text)
            for record in page["messages"]:
                assert record["position"] == self.position + 1, f"a hole: {record}"
                self.position += 1
                if "text" in record:
                    self.ids[name_of(record["text"])] = record["id"]
                    self.note(record["text"])
            if not page["messages"]:
                time.sleep(0.05)

    def say(self, text, about):
        # Sent again until there is an answer, even if it was taken before: the id makes it one message.
        said = {"id": name_of(text), "text": text}
        if about in self.ids:
            said |= {"kind": "reply", "to": self.ids[about]}
        status, answer = curl(f"{self.at}/messages", said, self.token, retry=True)
        assert status in (200, 201), answer


class WebSocket(Client):
    """A bot on a WebSocket that comes back with `resume`, and says again what had no `ack`."""

    def __init__(self, name, server, room):
        super().__init__(name, server)
        self.url = f"{server.url.replace('http', 'ws', 1)}/api/rooms/{room}/ws"
        self.pending = {}
        self.token = self.position = self.socket = None
        self.resumed = 0
        self.run(self.listen)
        until(f"{name} to be in", lambda: self.told() is not None and self.token)

    def listen(self):
        while not self.over:
            try:
                with connect(self.url, compression=None) as socket:
                    self.converse(socket)
            except (ConnectionClosed, OSError, EOFError):
                pass
            except Exception as error:
                # The server may vanish while it is being spoken to.
                if type(error).__module__.split(".")[0] != "websockets":
                    raise
            self.socket = None
            time.sleep(0.05)

    def converse(self, socket):
        if self.token is None:
            socket.send(json.dumps({"type": "join", "name": self.name}))
        else:
            socket.send(json.dumps({"type": "resume", "token": self.token, "after": self.position}))
        for data in socket:
            event = json.loads(data)
            kind = event["type"]
            assert kind != "error", event
            if kind == "welcome":
                if self.token is None:
                    self.position = event["position"] - 1
                else:
                    self.resumed += 1
                self.token = event["token"]
                with self.lock:
                    for said in self.pending.values():
                        socket.send(json.dumps(said))
                    self.socket = socket
            if kind in ("message", "joined", "left"):
                assert event["position"] == self.position + 1, f"a hole behind {self.position}: {event}"
                self.position += 1
                self.note(event.get("text", ""))
            if kind == "ack":
                with self.lock:
                    self.pending.pop(event["id"], None)

    def say(self, text, _about):
        said = {"type": "say", "id": name_of(text), "text": text}
        with self.lock:
            self.pending[said["id"]] = said
            if self.socket:
                try:
                    self.socket.send(json.dumps(said))
                except ConnectionClosed:
                    pass

    def close(self):
        self.over = True
        if self.socket:
            self.socket.close()


class Native(Client):
    """`causerie chat`, which reconnects by itself."""

    hears_itself = False

    def __init__(self, name, server, room, state):
        super().__init__(name, server)
        command = [server.program, "chat", f"127.0.0.1:{server.port}", "--room", room, "--name", name, "--plain", "--state", state]
        self.process = start(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.notices = []
        self.run(lambda: [self.note(line.rstrip("\n")) for line in self.process.stdout])
        self.run(lambda: self.notices.extend(self.process.stderr))
        until(f"{name} to be in", lambda: any(line.lstrip("* ").startswith("in '") for line in self.notices))

    def say(self, text, _about):
        self.process.stdin.write(f"{text}\n")
        self.process.stdin.flush()

    def close(self):
        self.over = True
        self.process.kill()
        self.process.wait()


class Classic(Client):
    """The original line protocol: when the connection ends, so does the membership, and what was on its way may be lost."""

    hears_itself = False

    def __init__(self, name, server, room):
        super().__init__(name, server)
        self.room, self.connection = room, None
        # How much was heard before each of its lives.
        self.lives = []
        # What was said in its first life, or between the two.
        self.on_its_way = set()
        self.run(self.listen)
        until(f"{name} to be in", lambda: self.told() is not None and self.lives)

    def listen(self):
        while not self.over:
            try:
                with socket.create_connection(("127.0.0.1", self.server.port)) as connection:
                    self.converse(connection)
            except OSError:
                pass
            with self.lock:
                self.connection = None
            time.sleep(0.05)

    def converse(self, connection):
        begun = len(self.told())
        # Its name may still be taken by its life before.
        name = self.name + str(len(self.lives) + 1 if self.lives else "")
        connection.sendall(f"./join {self.room}\n".encode())
        connection.sendall(f"{name}\n./members\n".encode())
        lines = connection.makefile("r", encoding="utf-8", newline="\n")
        for line in lines:
            line = line.rstrip("\n")
            if line.startswith("[") and name in line:
                with self.lock:
                    self.lives.append(begun)
                    self.connection = connection
            self.note(line)

    def say(self, text, _about):
        with self.lock:
            connection = self.connection
            if len(self.lives) < 2 or not connection:
                self.on_its_way.add(name_of(text))
        try:
            if connection:
                connection.sendall(f"{text}\n".encode())
        except OSError:
            self.on_its_way.add(name_of(text))

    def close(self):
        self.over = True
        if self.connection:
            self.connection.shutdown(socket.SHUT_RDWR)
