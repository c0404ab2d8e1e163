"""irssi and WeeChat in a room with a native and a classic client, while the server is killed; and by TLS, which trusts pins alone.

    python irc.py PATH-TO-CAUSERIE

`cargo xtask irc` runs this. Nothing beside Python's own library is needed.
"""

import fcntl
import glob
import os
import pathlib
import pty
import re
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import urllib.request

from server import Server, demand, end_all, environment, start, until

ROOM = "lobby"
# What each says before the server is killed, and after.
TURNS = 20
# What the clients say: who, and the how manieth it is.
SAID = re.compile(r"\b(irssi|weechat|native|classic)-(\d+)\b")


class Irssi:
    """On a terminal of its own, since it does not start without one. What it shows is in its own log."""

    name = "irssi"

    def __init__(self, port, folder, nick="Ann", **tls):
        """With settings of TLS it is by TLS, whoever vouches for the certificate, or nobody."""
        home = pathlib.Path(folder) / f"irssi-{nick}"
        home.mkdir()
        self.logs, self.raw = home / "logs", home / "raw"
        if tls:
            tls = {"use_tls": "yes", "tls_verify": "no", **tls}
        settings = " ".join(f'{name} = "{value}";' for name, value in tls.items())
        (home / "config").write_text(
            f"""
            servers = ( {{ address = "127.0.0.1"; port = "{port}"; chatnet = "here"; autoconnect = "yes"; {settings} }} );
            chatnets = {{ here = {{ type = "IRC"; }}; }};
            channels = ( {{ name = "#{ROOM}"; chatnet = "here"; autojoin = "yes"; }} );
            settings = {{
              core = {{ real_name = "Ann"; user_name = "ann"; nick = "{nick}"; server_reconnect_time = "10s"; }};
              "fe-common/core" = {{ autolog = "yes"; autolog_path = "{home}/logs/$0.log"; }};
            }};
            """
        )
        master, slave = pty.openpty()
        # So wide that no line is broken.
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 300, 0, 0))
        self.terminal = master
        self.process = start(["irssi", f"--home={home}"], stdin=slave, stdout=slave, stderr=slave)
        os.close(slave)
        self.drawn = b""
        threading.Thread(target=self.drain, daemon=True).start()

    def drain(self):
        try:
            while drawn := os.read(self.terminal, 1 << 16):
                self.drawn += drawn
        except OSError:
            pass

    def refuses(self):
        """Whether it has told that the server's key or certificate is not the one that it was told to expect."""
        return re.search(rb"Pinned (certificate|public key) mismatch", self.drawn)

    def whois(self, nick):
        """All that the server says of it."""
        os.write(self.terminal, f"/rawlog open {self.raw}\r/whois {nick}\r".encode())
        until("the end of an answer to WHOIS", lambda: self.raw.exists() and " 318 " in self.raw.read_text(encoding="utf-8"))
        return self.raw.read_text(encoding="utf-8")

    def lines(self):
        return self.hears_from(f"#{ROOM}")

    def hears_from(self, target):
        log = self.logs / f"{target.lower()}.log"
        return log.read_text(encoding="utf-8").splitlines() if log.exists() else []

    def say(self, text):
        os.write(self.terminal, f"/msg #{ROOM} {text}\r".encode())

    def say_to(self, nick, text):
        os.write(self.terminal, f"/msg {nick} {text}\r".encode())

    def joins(self):
        return sum(f"Join to #{ROOM} was synced" in line for line in self.lines())


class WeeChat:
    """Without a terminal, driven through its pipe. What it shows is in its own log."""

    name = "weechat"

    def __init__(self, port, folder, nick="Ann", fingerprint=""):
        """With a fingerprint it is by TLS."""
        self.home = pathlib.Path(folder) / f"weechat-{nick}"
        self.home.mkdir()
        on = "on" if fingerprint else "off"
        commands = [
            "/set logger.file.flush_delay 0",
            "/set irc.server_default.autoreconnect_delay 1",
            "/set irc.server_default.autoreconnect_max_growing 1",
            '/set irc.server_default.realname "Ann"',
            f"/server add here 127.0.0.1/{port} -nicks={nick},{nick}_,{nick}__ -autojoin=#{ROOM}",
            # The names before and after version 4.
            *(f"/set irc.server.here.{tls} {on}" for tls in ("ssl", "tls")),
            *(f'/set irc.server.here.{tls}_fingerprint "{fingerprint}"' for tls in ("ssl", "tls")),
            "/connect here",
        ]
        words = [word for command in commands for word in ("--run-command", command)]
        self.process = start(["weechat-headless", "--dir", str(self.home), *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def lines(self):
        return self.hears_from(f"#{ROOM}")

    def hears_from(self, target):
        found = glob.glob(f"{self.home}/logs/irc.here.{target.lower()}.weechatlog")
        return pathlib.Path(found[0]).read_text(encoding="utf-8").splitlines() if found else []

    def say(self, text):
        self.type(f"irc.here.#{ROOM}", text)

    def say_to(self, nick, text):
        self.type("irc.server.here", f"/msg {nick} {text}")

    def type(self, buffer, text):
        pipes = glob.glob(f"{self.home}/weechat_fifo_*")
        with open(pipes[0], "w", encoding="utf-8") as pipe:
            pipe.write(f"{buffer} *{text}\n")

    def joins(self):
        return sum(f"Channel #{ROOM}: " in line for line in self.lines())

    def refuses(self):
        """Whether it has told that the server's certificate is not the one that it was told to expect."""
        logs = glob.glob(f"{self.home}/logs/irc.server.here.weechatlog")
        return logs and "fingerprint does NOT match" in pathlib.Path(logs[0]).read_text(encoding="utf-8")


class Native:
    """`causerie chat`."""

    name = "native"

    def __init__(self, program, port, folder):
        command = [program, "chat", f"127.0.0.1:{port}", "--room", ROOM, "--name", "Raj", "--plain", "--state", f"{folder}/state"]
        self.process = start(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self.heard = []
        threading.Thread(target=lambda: self.heard.extend(self.process.stdout), daemon=True).start()

    def lines(self):
        return list(self.heard)

    def say(self, text):
        self.process.stdin.write(f"{text}\n")
        self.process.stdin.flush()


class Classic:
    """Lines on a socket."""

    name = "classic"

    def __init__(self, port):
        self.port, self.heard = port, []
        self.enter()

    def enter(self):
        self.socket = socket.create_connection(("127.0.0.1", self.port))
        self.socket.sendall(f"./join {ROOM}\nCal\n./members\n".encode())
        reader = self.socket.makefile(encoding="utf-8", errors="replace")
        before = len(self.heard)
        threading.Thread(target=self.listen, args=(reader,), daemon=True).start()
        until("Cal to be in", lambda: any("'Cal'" in line for line in self.heard[before:]))

    def listen(self, reader):
        try:
            self.heard.extend(reader)
        except OSError:
            pass

    def lines(self):
        return list(self.heard)

    def say(self, text):
        self.socket.sendall(f"{text}\n".encode())


def said(lines, without=None):
    """What was said, in the order of the lines; what was replayed too, which has the hour in front."""
    found = [match for line in lines for match in SAID.findall(line)]
    return [(who, int(number)) for who, number in found if who != without]


def talk(clients, begin, count):
    """Everybody speaks in turn, and hears all that the others say, in one order."""
    for number in range(begin, begin + count):
        for client in clients:
            client.say(f"{client.name}-{number}")
    expected = {(client.name, number) for client in clients for number in range(begin, begin + count)}
    for client in clients:
        wanted = {one for one in expected if one[0] != client.name}
        until(f"{client.name} to hear the others", lambda: wanted <= set(said(client.lines())))
    return expected


def whisper(server, irssi, weechat, others):
    """Two talk between them: each hears the other, and nobody else does."""
    for turn in range(1, 4):
        irssi.say_to("Ann_", f"psst {turn}")
        until("WeeChat to hear irssi", lambda: any(f"psst {turn}" in line for line in weechat.hears_from("Ann")))
        weechat.say_to("Ann", f"pssst {turn}")
        until("irssi to hear WeeChat", lambda: any(f"pssst {turn}" in line for line in irssi.hears_from("Ann_")))
    told = [line for client in others for line in client.lines()] + weechat.lines()
    told += [record.get("text", "") for record in server.log(ROOM)]
    demand(not any("psst" in line or "pssst" in line for line in told), "others heard what two said between them")


def same_order(clients, order):
    for client in clients:
        own = [one for one in said(client.lines()) if one[0] != client.name]
        demand(own == [one for one in order if one[0] != client.name], f"{client.name} saw another order: {own}\n{order}")


def killed(program, folder):
    """Both come back by themselves when the server does, and miss nothing."""
    server = Server(program, f"{folder}/data")
    server.run("rooms", "create", ROOM)
    native, classic = Native(program, server.port, folder), Classic(server.port)
    irssi = Irssi(server.port, folder)
    # Both want the same nick: whoever comes second takes another by itself.
    until("irssi to be in", lambda: irssi.joins() >= 1)
    weechat = WeeChat(server.port, folder)
    until("WeeChat to be in", lambda: weechat.joins() >= 1)
    until("irssi to see another nick", lambda: any("Ann_" in line for line in irssi.lines()))
    clients = [irssi, weechat, native, classic]
    everything = talk(clients, 1, TURNS)
    first = said(record.get("text", "") for record in server.log(ROOM))
    same_order(clients, first)
    whisper(server, irssi, weechat, [native, classic])
    heard = {client.name: len(said(client.lines(), client.name)) for client in (irssi, weechat)}

    server.kill()
    server.start()
    classic.enter()
    until("irssi to be back", lambda: irssi.joins() >= 2)
    until("WeeChat to be back", lambda: weechat.joins() >= 2)
    # What they have seen they are not shown again: behind it comes only what is new, as is demanded below.
    everything |= talk(clients, TURNS + 1, TURNS)
    order = said(record.get("text", "") for record in server.log(ROOM))
    demand(len(order) == len(everything) and set(order) == everything, "something was lost, or said twice")
    for client in (irssi, weechat):
        new = said(client.lines(), client.name)[heard[client.name]:]
        demand(new == [one for one in order if one[0] != client.name and one[1] > TURNS], f"{client.name} saw another order")
    demand([one for one in said(native.lines())] == [one for one in order if one[0] != "native"], "native saw another order")
    server.stop()
    print(f"  {len(order)} texts by irssi, WeeChat, causerie chat and a classic client, server killed once: one order; and two between them")


def counted(server, what):
    with urllib.request.urlopen(f"{server.url}/metrics") as answer:
        [line] = [line for line in answer.read().decode().splitlines() if line.startswith(f"causerie_{what} ")]
    return int(line.split()[1])


def altered(pin):
    """As long, and another."""
    return pin[:-1] + ("0" if pin[-1] != "0" else "1")


def encrypted(program, folder):
    """By TLS with a server that nobody vouches for: who has its right pin talks with those in clear text, others say nothing."""
    server = Server(program, f"{folder}/encrypted", "--tls", "self-signed")
    server.run("rooms", "create", ROOM)
    shown = subprocess.run([program, "tls", "show", "--data", server.folder], capture_output=True, text=True, env=environment())
    pins = {what: re.search(rf"{what} SHA-256 +([0-9a-f:]+)", shown.stdout) for what in ("public key", "certificate")}
    demand(all(pins.values()), f"causerie tls show tells no fingerprints: {shown.stdout}{shown.stderr}")
    key, certificate = (pins[what][1].upper() for what in ("public key", "certificate"))
    plain = certificate.replace(":", "")

    arrived = 'connections_total{protocol="irc"}'
    handshakes = 'tls_handshakes_total{result="done"}'
    tls, wrong = {"tls_pinned_cert": certificate, "tls_pinned_pubkey": key}, []
    for name, pin in tls.items():
        wrong.append(Irssi(server.port, folder, f"Eve{len(wrong)}", **tls | {name: altered(pin)}))
    wrong.append(WeeChat(server.port, folder, "Eve2", altered(plain)))
    for client in wrong:
        until(f"{client.name} to refuse a server by its pin", client.refuses)
    demand(counted(server, handshakes) >= 1, "whoever refused the server's key had seen it")
    demand(counted(server, arrived) == 0, "IRC was spoken with a server that has another pin")
    demand(server.log(ROOM) == [], "somebody came in with a wrong pin")

    # One with a certificate of its own, which WHOIS tells whoever has it.
    own = {}
    if shutil.which("openssl"):
        pem = f"{folder}/own.pem"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ed25519", "-nodes", "-days", "2", "-subj", "/CN=Sue",
                        "-keyout", pem, "-out", f"{pem}.crt"], check=True, capture_output=True)
        own = {"tls_cert": f"{pem}.crt", "tls_pkey": pem}
    native, classic = Native(program, server.port, folder), Classic(server.port)
    irssi, weechat = Irssi(server.port, folder, "Sue", **tls, **own), WeeChat(server.port, folder, "Sam", plain)
    for client in (irssi, weechat):
        until(f"{client.name} to be in by TLS", lambda: client.joins() >= 1)
    clients = [irssi, weechat, native, classic]
    # A few: irssi takes two seconds for each.
    everything = talk(clients, 1, 5)
    order = said(record.get("text", "") for record in server.log(ROOM))
    demand(len(order) == len(everything), "something was lost, or said twice")
    same_order(clients, order)
    demand(counted(server, arrived) == 2, "IRC was spoken with a server that has another pin, or one came twice")
    told = irssi.whois("Sue")
    demand(" 671 Sue Sue " in told, f"WHOIS of who is by TLS: {told}")
    if own:
        command = ["openssl", "x509", "-in", own["tls_cert"], "-noout", "-fingerprint", "-sha256"]
        known = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip().rpartition("=")[2]
        demand(re.search(rf" 276 Sue Sue .*{known.replace(':', '').lower()}", told), f"WHOIS of who has {known}: {told}")
    else:
        print("  skipped: openssl is missing, so that irssi had no certificate of its own")
    server.stop()
    print(f"  {len(order)} texts, irssi and WeeChat by TLS, the others in clear text: one order; {len(wrong)} with a wrong pin said nothing")


def main():
    program = sys.argv[1]
    with tempfile.TemporaryDirectory(prefix="causerie-irc-") as folder:
        for part in (killed, encrypted):
            pathlib.Path(folder, part.__name__).mkdir()
            part(program, f"{folder}/{part.__name__}")
            end_all()


if __name__ == "__main__":
    try:
        main()
    finally:
        end_all()
