"""The front door, tried by programs that are not ours: curl, openssl, websockets, schemathesis, nginx, Prometheus' parser.

    python check.py PATH-TO-CAUSERIE PATH-TO-THE-PROJECT

`cargo xtask programs` installs them and runs this.
"""

import json
import pathlib
import re
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

from prometheus_client.openmetrics.parser import text_string_to_metric_families

from causal import Judge, Wrong, name_of, same
from clients import Classic, Curl, Native, WebSocket, curl
from encrypted import encrypted
from proxied import proxied
from server import PATIENCE, Server, end_all, environment, until

HERE = pathlib.Path(__file__).parent
# What each client says before the server is killed, and after.
TURNS = 40
# Which requests are made up, and how many for each operation.
SEED, EXAMPLES = 20261123, 60
# What docs/api.md has for the server's address.
PRINTED = "http://127.0.0.1:12343"


def demand(holds, what):
    if not holds:
        raise Wrong(what)


# The examples in the documentation.


def blocks(document, language):
    return re.findall(rf"^```{language}\n(.*?)^```$", document, re.MULTILINE | re.DOTALL)


def documents(server, project):
    """What docs/api.md prints works as printed."""
    document = (project / "docs/api.md").read_text(encoding="utf-8")
    scripts, programs = blocks(document, "sh"), blocks(document, "python")
    demand(len(scripts) == 1 and len(programs) == 1, "docs/api.md has one example with curl and one in Python")
    demand(PRINTED in scripts[0], f"the example with curl is for {PRINTED}")
    script = scripts[0].replace(PRINTED, server.url)
    done = subprocess.run(["sh", "-eu"], input=script, capture_output=True, text=True, timeout=PATIENCE)
    demand(done.returncode == 0, f"the example with curl ended with {done.returncode}: {done.stderr}")
    answers, rest, decoder = [], done.stdout, json.JSONDecoder()
    while rest:
        answer, end = decoder.raw_decode(rest)
        answers.append(answer)
        rest = rest[end:].lstrip()
    demand(len(answers) == 4, f"a room, a message, the same again, a page: {answers}")
    room, said, again, page = answers
    demand(room.get("name") == "ops", f"a room: {room}")
    demand(said.get("id") == "d1" and said == again, f"sent again it is the same message: {said} {again}")
    told = [(record["author"], record["kind"], record.get("text")) for record in page["messages"]]
    demand(told == [("deploy", "joined", None), ("deploy", "text", "started")], f"what was said: {told}")
    done = subprocess.run([sys.executable, "-", server.url], input=programs[0], capture_output=True, text=True, timeout=PATIENCE)
    demand((done.returncode, done.stdout) == (0, "snake: hello\n"), f"the example in Python: {done.stdout}{done.stderr}")


# Four kinds of clients in one room.


class Talk:
    """Each client by itself answers the last that it was told, at its own pace."""

    def __init__(self, clients):
        self.clients, self.judge = clients, Judge()
        self.lock = threading.Lock()
        self.said = {client.name: [] for client in clients}
        self.talking = set()

    def go_on(self, turns):
        """Until each has spoken so many times more. Ends of threads are waited for."""
        self.talking = {client.name for client in self.clients}
        threads = [threading.Thread(target=self.speak, args=(client, turns), daemon=True) for client in self.clients]
        self.troubles = []
        for thread in threads:
            thread.start()
        return threads

    def speak(self, client, turns):
        try:
            # What it has been told when it spoke last.
            known = 0
            for _ in range(turns):
                told = until(f"{client.name} to be told something", lambda: self.something_new(client, known))
                known = len(told)
                self.say(client, told)
        except Exception as error:  # noqa: BLE001 - told by `join`
            self.troubles.append(error)
        finally:
            self.talking.discard(client.name)

    def something_new(self, client, known):
        told = client.told()
        others = [name for name in told if not name.startswith(f"{client.name.lower()}-")]
        first = not self.said[client.name]
        alone = self.talking == {client.name}
        new = [name for name in told[known:] if name in others]
        return told if told and (new or alone) else (["nobody"] if first and not told else None)

    def say(self, client, told):
        own = self.said[client.name]
        name, about = f"{client.name.lower()}-{len(own) + 1}", told[-1]
        with self.lock:
            # Before anybody can be told.
            self.judge.said(name, {*told, *own} - {"nobody"})
            own.append(name)
        client.say(f"{name} answers {about}", about)

    def join(self, threads):
        for thread in threads:
            thread.join()
        if self.troubles:
            raise self.troubles[0]


def the_whole_log(url, room):
    """All texts as pages tell them, forwards and backwards."""
    forwards, after = [], 0
    while True:
        status, text = curl(f"{url}/api/rooms/{room}/messages?after={after}&limit=13")
        page = json.loads(text)
        demand(status == 200, f"a page: {page}")
        forwards += page["messages"]
        if page["to"] == page["end"]:
            break
        after = page["to"]
    backwards, before = [], page["end"] + 1
    while before > 1:
        _, text = curl(f"{url}/api/rooms/{room}/messages?before={before}&limit=17")
        page = json.loads(text)
        backwards = page["messages"] + backwards
        before = page["from"]
    same("pages backwards", backwards, forwards)
    same("positions", [record["position"] for record in forwards], list(range(1, len(forwards) + 1)))
    return forwards


def names(records):
    return [name for record in records if (name := name_of(record.get("text", "")))]


def room(program, folder):
    """curl, websockets, causerie chat and a classic client talk, while the server is killed: one order, complete."""
    server = Server(program, f"{folder}/room")
    status, _ = curl(f"{server.url}/api/rooms", {"name": "lobby"})
    demand(status == 201, "a room is made")
    bot, eve = Curl("Bot", server, "lobby"), WebSocket("Eve", server, "lobby")
    raj, ann = Native("Raj", server, "lobby", f"{folder}/state"), Classic("Ann", server, "lobby")
    clients = [bot, eve, raj, ann]
    talk = Talk(clients)
    talking = talk.go_on(2 * TURNS)
    # In the middle of it, and not between two words.
    until("half of it to be said", lambda: sum(map(len, talk.said.values())) >= len(clients) * TURNS)
    server.kill()
    server.start()
    until("Ann to be back", lambda: ann.told() is not None and len(ann.lives) == 2)
    talk.join(talking)
    # All of it is there, but for what a classic client had on its way.
    everything = {name for said in talk.said.values() for name in said}
    until("all of it to be told", lambda: everything - set(bot.told()) <= ann.on_its_way)
    # Behind these words nothing is on its way any more: each client says them, and all are told.
    for client in clients:
        talk.say(client, client.told())
    last = {talk.said[client.name][-1] for client in clients}
    for client in clients:
        own = set() if client.hears_itself else {talk.said[client.name][-1]}
        until(f"{client.name} to be told the last words", lambda: last - own <= set(client.told()))
    log = the_whole_log(server.url, "lobby")
    order = names(log)
    everything |= last
    lost = everything - set(order)
    demand(lost <= ann.on_its_way, f"lost: {sorted(lost - ann.on_its_way)}")
    talk.judge.forget(lost)
    talk.judge.check("the log", order)
    # What each was told while it happened.
    same("Bot's pages", bot.told(), order)
    same("Eve's WebSocket", eve.told(), order)
    demand(eve.resumed >= 1, "Eve has come back")
    others = lambda client: [name for name in order if name not in talk.said[client.name]]  # noqa: E731
    same("Raj's chat", raj.told(), others(raj))
    talk.judge.check("Raj", raj.told(), known=set(talk.said["Raj"]))
    told, again = ann.told(), ann.lives[1]
    same("Ann's first life", told[:again], others(ann)[:again])
    same("Ann's second life", told[again:], others(ann)[len(others(ann)) - len(told[again:]):])
    metrics(server, len(clients))
    for client in clients:
        client.over = True
    raj.close(), ann.close(), eve.close()
    # And later, after another restart: for whoever reads, and for who comes back to the beginning.
    server.stop()
    server.start()
    same("pages after a restart", names(the_whole_log(server.url, "lobby")), order)
    trace = curl(f"{server.url}/api/rooms/lobby/trace")[1].splitlines()
    same("the trace", [json.loads(line) for line in trace], the_whole_log(server.url, "lobby")[:len(trace)])
    same("causerie history", server.log("lobby"), the_whole_log(server.url, "lobby"))
    late = WebSocket.__new__(WebSocket)
    same("a WebSocket from the beginning on", resumed(late, eve, server, len(order)), order)
    server.stop()
    lost = f", {len(lost)} of a classic client lost with its connection" if lost else ""
    print(f"  {len(order)} texts by 4 kinds of clients, server killed once{lost}")


def resumed(late, eve, server, count):
    """What Eve is told who comes back and has forgotten everything but her token."""
    WebSocket.__bases__[0].__init__(late, "Eve", server)
    late.url, late.token, late.position = eve.url, eve.token, 0
    late.pending, late.socket, late.resumed = {}, None, 0
    late.run(late.listen)
    until("all of it to come again", lambda: len(late.told()) >= count)
    late.close()
    return late.told()


# What is counted.


def metrics(server, members):
    """Prometheus' own parser understands what is counted, and it is what has happened."""
    with urllib.request.urlopen(f"{server.url}/metrics") as answer:
        kind, text = answer.headers["Content-Type"], answer.read().decode()
    demand(kind == "application/openmetrics-text; version=1.0.0; charset=utf-8", f"its type is {kind}")
    families = {family.name: family for family in text_string_to_metric_families(text)}
    demand(all(family.documentation for family in families.values()), "each is described")
    values = {(sample.name, *sample.labels.values()): sample.value for family in families.values() for sample in family.samples}
    demand(values["causerie_rooms",] == 1 and values["causerie_members",] >= members, text)
    for protocol in ("native", "classic", "http"):
        demand(values["causerie_connections_total", protocol] >= 1, f"{protocol} in {text}")
    for counted in ("messages_delivered_total", "stored_records_total", "resumes_total", "commit_seconds_count"):
        demand(values[f"causerie_{counted}",] >= 1, f"{counted} in {text}")
    demand(families["causerie_commit_seconds"].type == "histogram", text)


# The description.


def described(program, folder):
    """schemathesis finds nothing between /api/openapi.json and the answers."""
    server = Server(program, f"{folder}/described", "--operator-token", "sesame", "--rooms-max", "100000", "--members-max", "50000")
    curl(f"{server.url}/api/rooms", {"name": "lobby"})
    joined = json.loads(curl(f"{server.url}/api/rooms/lobby/members", {"name": "Bot"})[1])
    # Nobody new would be let in; and rooms to be opened again have first to be closed, which comes last.
    left_out = [word for name in ("lockDown", "openRoom") for word in ("--exclude-operation-id", name)]
    command = [pathlib.Path(sys.executable).with_name("schemathesis"), "--config-file", HERE / "schemathesis.toml",
               "run", f"{server.url}/api/openapi.json", *left_out, "--seed", str(SEED), "--max-examples", str(EXAMPLES)]
    env = environment(MEMBER_TOKEN=joined["token"], OPERATOR_TOKEN="sesame")
    print(f"  schemathesis --seed {SEED} --max-examples {EXAMPLES}", flush=True)
    # Who has left can say nothing, so leaving comes last.
    for part in (["--exclude-method", "DELETE"], ["--include-method", "DELETE"]):
        done = subprocess.run([*command, *part], capture_output=True, text=True, env=env, cwd=folder)
        if done.returncode != 0:
            print(done.stdout + done.stderr)
        demand(done.returncode == 0, f"schemathesis {' '.join(part)} ended with {done.returncode}")
        print("  " + "; ".join(re.findall(r"^\s+(\d+ generated.*)$", done.stdout, re.MULTILINE)), flush=True)
    status, _ = curl(f"{server.url}/readyz")
    demand(status == 204, "the server is well")
    server.stop()


def main():
    program, project = map(pathlib.Path, sys.argv[1:])
    with tempfile.TemporaryDirectory(prefix="causerie-programs-") as folder:
        def printed():
            server = Server(str(program), f"{folder}/printed")
            documents(server, project)
            server.stop()

        parts = {"docs/api.md as printed": printed,
                 "one room, every kind of client": lambda: room(str(program), folder),
                 "behind nginx": lambda: proxied(str(program), pathlib.Path(folder, "proxied"), project),
                 "by TLS": lambda: encrypted(str(program), pathlib.Path(folder, "encrypted"), project),
                 "the description": lambda: described(str(program), folder)}
        for name, part in parts.items():
            begun = time.monotonic()
            print(f"{name} ...", flush=True)
            try:
                part()
            except Wrong as wrong:
                sys.exit(f"{name}: {wrong}")
            finally:
                end_all()
            print(f"  ok, {time.monotonic() - begun:.1f} s", flush=True)


if __name__ == "__main__":
    main()
