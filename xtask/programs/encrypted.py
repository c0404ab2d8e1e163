"""TLS on the one port beside clear text, with curl and openssl: pins, versions, protocols, certificates asked for and exchanged."""

import base64
import os
import pathlib
import re
import shutil
import signal
import subprocess
import threading
import time

from causal import Wrong
from proxied import blocks
from server import PATIENCE, Server, environment, start, until

VERSIONS = {"-tls1_2": "TLSv1.2", "-tls1_3": "TLSv1.3"}
# What curl ends with if no authority vouches for the certificate, and if its key is not the pinned one.
UNKNOWN, NOT_PINNED = 60, 90
# How often the server looks at files by itself, in seconds.
LOOK_EVERY = 60


def demand(holds, what):
    if not holds:
        raise Wrong(what)


def curl(url, *options):
    """What it ends with, the answer's status, and where that leads."""
    command = ["curl", "--silent", "--max-time", "30", "--output", "/dev/null", "--write-out", "%{http_code} %{redirect_url}"]
    done = subprocess.run([*command, *options, url], capture_output=True, text=True)
    status, _, leads = done.stdout.partition(" ")
    return done.returncode, int(status), leads


def s_client(server, *options, said=None):
    """What openssl tells of a connection, and what it is answered if it says something."""
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{server.port}", *options, *(["-ign_eof"] if said else [])]
    done = subprocess.run(command, input=(said or "").encode(), capture_output=True, timeout=PATIENCE)
    return done.stdout.decode(errors="replace")


def shown(server):
    """The certificate that a new connection sees."""
    return re.search(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", s_client(server), re.DOTALL)[0]


def pinned(program, server, pem, project):
    """curl knows the server by its key, or by its certificate, or not at all; clear text is taken beside."""
    url = f"https://127.0.0.1:{server.port}/api/rooms"
    told = subprocess.run([program, "tls", "show", "--data", server.folder], capture_output=True, text=True, env=environment()).stdout
    key = re.search(r"public key SHA-256 +([0-9a-f:]+)", told)[1].replace(":", "")
    [printed] = [block for block in blocks((project / "docs/tls.md").read_text(encoding="utf-8"), "sh") if "openssl" in block]
    demand("cert.pem" in printed, f"docs/tls.md tells of a certificate: {printed}")
    done = subprocess.run(["sh", "-eu"], input=printed.replace("cert.pem", str(pem)), capture_output=True, text=True, timeout=PATIENCE)
    demand(done.stdout.split()[:1] == [key], f"the fingerprint as docs/tls.md makes it, and as it is shown: {done.stdout} {key}")

    def pin(key):
        return "--insecure", "--pinnedpubkey", f"sha256//{base64.b64encode(key).decode()}"

    right = bytes.fromhex(key)
    demand(curl(url, *pin(right)) == (0, 200, ""), "curl with the right pin")
    demand(curl(url, *pin(right[:-1] + bytes([right[-1] ^ 1])))[:2] == (NOT_PINNED, 0), "curl with a wrong pin")
    demand(curl(url, "--cacert", pem) == (0, 200, ""), "curl that knows the certificate")
    demand(curl(url)[:2] == (UNKNOWN, 0), "curl that does not know the certificate")
    demand(curl(url.replace("https", "http")) == (0, 200, ""), "curl in clear text")


def spoken(server, pem):
    """Each version with each protocol, or none; who speaks HTTP is not asked for a certificate, for browsers would ask their users."""
    http, irc = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", "NICK sue\r\nUSER sue 0 * :Sue\r\nQUIT\r\n"
    says = [(None, http, "HTTP/1.1 2"), (None, irc, " 001 sue "), ("http/1.1", http, "HTTP/1.1 2"), ("irc", irc, " 001 sue "),
            ("causerie/2", None, "")]
    for option, version in VERSIONS.items():
        for protocol, said, answer in says:
            alpn = ["-alpn", protocol] if protocol else []
            told = s_client(server, option, *alpn, "-CAfile", pem, "-verify_return_error", said=said)
            what = f"{version}, {protocol}: {told}"
            demand(f"New, {version}," in told and "Verify return code: 0 (ok)" in told and answer in told, what)
            demand((f"ALPN protocol: {protocol}" if protocol else "No ALPN negotiated") in told, what)
            asked = "Requested Signature Algorithms:" in told
            demand(asked == (protocol != "http/1.1"), f"{'' if asked else 'not '}asked for a certificate by {what}")
    told = s_client(server, "-alpn", "h2")
    demand("BEGIN CERTIFICATE" not in told, f"a protocol that is not spoken here: {told}")


def never_plain(program, folder):
    """Who comes in clear text and may not is sent to where it may."""
    server = Server(program, f"{folder}/never", "--tls", "self-signed", "--plain", "never")
    for path in ("/", "/api/rooms?limit=3"):
        at = f"127.0.0.1:{server.port}{path}"
        demand(curl(f"http://{at}") == (0, 308, f"https://{at}"), f"{path} in clear text")
        followed = curl(f"http://{at}", "--location", "--cacert", f"{folder}/never/tls/self-signed.pem")
        demand(followed[:2] == (0, 200), f"{path} by TLS: {followed}")
    server.stop()


class Held:
    """A connection by TLS that stays, of somebody in IRC."""

    def __init__(self, server):
        command = ["openssl", "s_client", "-connect", f"127.0.0.1:{server.port}", "-quiet", "-alpn", "irc"]
        self.process = start(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self.told = []
        threading.Thread(target=lambda: self.told.extend(self.process.stdout), daemon=True).start()
        self.ask("NICK ann\r\nUSER ann 0 * :Ann", " 001 ann ")

    def ask(self, said, answer):
        self.process.stdin.write(f"{said}\r\n")
        self.process.stdin.flush()
        until(f"an answer to {said}", lambda: any(answer in line for line in self.told))


def exchanged(program, folder):
    """Another certificate, and SIGHUP: who comes sees it, and who is there notices nothing."""
    made = []
    for name in ("first", "second"):
        pem, key = folder / f"{name}.pem", folder / f"{name}.key"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
                        "-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", pem],
                       check=True, capture_output=True)
        made.append((pem, key))
    used = folder / "used.pem", folder / "used.key"

    def use(pair):
        for source, target in zip(pair, used):
            shutil.copyfile(source, f"{target}.new")
            os.replace(f"{target}.new", target)

    first, second = (pem.read_text(encoding="utf-8").strip() for pem, _ in made)
    use(made[0])
    begun = time.monotonic()
    server = Server(program, f"{folder}/files", "--tls-cert", used[0], "--tls-key", used[1])
    demand(shown(server) == first, "the certificate in the file")
    held = Held(server)
    use(made[1])
    server.process.send_signal(signal.SIGHUP)
    until("another certificate", lambda: shown(server) == second)
    demand(time.monotonic() < begun + LOOK_EVERY, "SIGHUP told of another certificate, and not only time")
    demand(curl(f"https://127.0.0.1:{server.port}/readyz", "--cacert", made[1][0])[:2] == (0, 204), "curl that knows the new certificate")
    held.ask("PING later", "PONG")
    server.stop()


def encrypted(program, folder, project):
    if not shutil.which("openssl"):
        return print("  skipped: openssl is missing")
    folder.mkdir()
    server = Server(program, f"{folder}/own", "--tls", "self-signed")
    pem = pathlib.Path(server.folder, "tls/self-signed.pem")
    pinned(program, server, pem, project)
    spoken(server, pem)
    server.stop()
    never_plain(program, folder)
    exchanged(program, folder)
