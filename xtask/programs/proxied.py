"""The server behind nginx, with the configuration that docs/operating.md prints: below a path, under another name, TLS in front."""

import os
import pathlib
import re
import shutil
import socket
import ssl
import subprocess

from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from causal import Wrong
from server import PATIENCE, Server, start, until

NAME = "chat.example.org"
# Where Debian has it, if it is no part of nginx itself.
STREAM = pathlib.Path("/usr/lib/nginx/modules/ngx_stream_module.so")


def demand(holds, what):
    if not holds:
        raise Wrong(what)


def blocks(document, language):
    return re.findall(rf"^```{language}\n(.*?)^```$", document, re.MULTILINE | re.DOTALL)


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def has_stream():
    built = subprocess.run(["nginx", "-V"], capture_output=True, text=True).stderr
    return STREAM.exists() or "--with-stream " in built + " "


def nginx(printed, folder, server):
    """Starts it with what is printed; its ports for HTTP and IRC, the latter if it can."""
    web, irc = free_port(), free_port()
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={NAME}",
                    "-keyout", folder / "chat.key", "-out", folder / "chat.pem"], check=True, capture_output=True)
    for old, new in {"listen 443": f"listen 127.0.0.1:{web}", "listen 6697": f"listen 127.0.0.1:{irc}",
                     "127.0.0.1:12343": f"127.0.0.1:{server.port}", "/etc/ssl/": f"{folder}/"}.items():
        demand(old in printed, f"docs/operating.md has '{old}' for nginx")
        printed = printed.replace(old, new)
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = "".join(f"{kind}_temp_path {folder}/{kind}; " for kind in kinds)
    printed = printed.replace("http {", f"http {{ access_log off; {temporary}", 1)
    # One process, so that nothing is left when it is killed.
    first = ["daemon off;", "master_process off;", f"pid {folder}/nginx.pid;", "error_log stderr error;", "events {}"]
    if os.geteuid() == 0:
        first.append("user root;")
    if STREAM.exists():
        first.insert(0, f"load_module {STREAM};")
    if not has_stream():
        printed = printed[:printed.index("stream {")]
    (folder / "nginx.conf").write_text("\n".join([*first, printed]), encoding="utf-8")
    start(["nginx", "-p", str(folder), "-c", str(folder / "nginx.conf")])

    def listens():
        with socket.socket() as tried:
            return tried.connect_ex(("127.0.0.1", web)) == 0

    until("nginx to listen", listens)
    return web, irc if has_stream() else None


def ask(port, path, *options):
    """The answer to curl: its status and its text."""
    command = ["curl", "--silent", "--show-error", "--insecure", "--max-time", "30", "--write-out", "\n%{http_code}",
               "--resolve", f"{NAME}:{port}:127.0.0.1", *options, f"https://{NAME}:{port}{path}"]
    done = subprocess.run(command, capture_output=True, text=True)
    demand(done.returncode == 0, f"curl ended with {done.returncode}: {done.stderr}")
    text, _, status = done.stdout.rpartition("\n")
    return int(status), text


def room(port, name, *options):
    body = ["--header", "Content-Type: application/json", "--data-binary", f'{{"name": "{name}"}}']
    return ask(port, "/talk/api/rooms", *body, *options)[0]


def unchecked():
    """TLS with whoever answers."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def websocket(port, origin):
    made = socket.create_connection(("127.0.0.1", port), PATIENCE)
    return connect(f"wss://{NAME}:{port}/talk/api/rooms/lobby/ws", sock=made, ssl=unchecked(), origin=origin)


def proxied(program, folder, project):
    for tool in ("nginx", "openssl"):
        if not shutil.which(tool):
            return print(f"  skipped: {tool} is missing")
    folder.mkdir()
    document = (project / "docs/operating.md").read_text(encoding="utf-8")
    [printed] = blocks(document, "nginx")
    [settings] = [block for block in blocks(document, "toml") if "trusted-proxies" in block]
    (folder / "config.toml").write_text(settings, encoding="utf-8")
    server = Server(program, f"{folder}/data", "--config", folder / "config.toml", "--address-loopback", "--address-joins", "4")
    web, irc = nginx(printed, folder, server)
    # The page, and all that it loads, below its path.
    demand(ask(web, "/talk")[0] == 308, "its path without a slash")
    status, page = ask(web, "/talk/")
    scripts = re.findall(r'(?:src|href)="([^"#]+)"', page)
    demand(status == 200 and len(scripts) >= 3, f"the page: {status} {page}")
    for name in scripts:
        demand(not name.startswith("/") and ask(web, f"/talk/{name.removeprefix('./')}")[0] == 200, f"{name} of the page")
    # Each visitor has limits of its own, whatever it says of itself.
    ann, raj = ("--interface", "127.0.0.5"), ("--interface", "127.0.0.6")
    demand([room(web, name, *ann) for name in ("lobby", "a", "b")] == [201] * 3, "rooms of Ann")
    demand(room(web, "c", *ann, "--header", "X-Forwarded-For: 192.0.2.1") == 201, "the last that she may make")
    for forged in ("X-Forwarded-For: 192.0.2.1", "Forwarded: for=192.0.2.1", "X-Forwarded-Proto: http"):
        demand(room(web, "d", *ann, "--header", forged) == 429, f"Ann says '{forged}'")
    demand(room(web, "d", *raj) == 201, "a room of Raj")
    for forged in ([], ["--header", "X-Forwarded-For: 127.0.0.1"], ["--header", "Forwarded: for=127.0.0.1"]):
        demand(ask(web, "/talk/metrics", *forged)[0] == 403, "metrics are for this machine, and a visitor is not")
    # WebSockets, for the page that came encrypted.
    with websocket(web, f"https://{NAME}:{web}") as own:
        own.send('{"type": "join", "name": "Eve"}')
        demand('"welcome"' in own.recv(PATIENCE), "Eve joins")
        own.send('{"type": "say", "id": "1", "text": "through nginx"}')
        until("what Eve says", lambda: "through nginx" in own.recv(PATIENCE))
    for origin in (f"http://{NAME}:{web}", "https://evil.example"):
        try:
            websocket(web, origin).close()
            raise Wrong(f"a page of {origin} is let in")
        except InvalidStatus as refused:
            demand(refused.response.status_code == 403, f"a page of {origin}: {refused}")
    if irc is None:
        print("  skipped: nginx has no module stream, so that IRC was not tried (libnginx-mod-stream)")
    else:
        with socket.create_connection(("127.0.0.1", irc), PATIENCE) as plain:
            with unchecked().wrap_socket(plain, server_hostname=NAME) as encrypted:
                encrypted.sendall(b"NICK sam\r\nUSER sam 0 * :Sam\r\nJOIN #lobby\r\n")
                told = b""
                while b" 366 " not in told:
                    more = encrypted.recv(4096)
                    demand(more, f"Sam joins by IRC: {told}")
                    told += more
    server.stop()
