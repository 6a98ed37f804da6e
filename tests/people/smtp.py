"""An SMTP server on a free port that keeps what it is sent. smtp.py plain|starttls|wrapped FOLDER

Writes its certificate to FOLDER/ca.pem (with TLS), says its port, writes each mail to FOLDER/N.eml, and ends when its
standard input does. With TLS, a mail takes STARTTLS and the user `sender` with the password `let me send`.
"""

import datetime
import ipaddress
import pathlib
import socket
import ssl
import sys

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

mode, folder = sys.argv[1], pathlib.Path(sys.argv[2])


class Keeper:
    kept = 0

    async def handle_DATA(self, server, session, envelope):
        temporary = folder / f".{self.kept}"
        head = f"X-Mail-From: {envelope.mail_from}\r\nX-Tls: {session.ssl is not None}\r\n".encode()
        temporary.write_bytes(head + envelope.content)
        temporary.rename(folder / f"{self.kept}.eml")
        self.kept += 1
        return "250 kept"


def certificate():
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = datetime.datetime.now(datetime.timezone.utc)
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = made.public_bytes(serialization.Encoding.PEM)
    (folder / "ca.pem").write_bytes(pem)
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "server.pem").write_bytes(private + pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem")
    return context


def check(server, session, envelope, mechanism, data):
    good = getattr(data, "login", b"") == b"sender" and getattr(data, "password", b"") == b"let me send"
    return AuthResult(success=good)


with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]
if mode == "plain":
    controller = Controller(Keeper(), hostname="127.0.0.1", port=port)
elif mode == "starttls":
    options = {"tls_context": certificate(), "require_starttls": True, "authenticator": check, "auth_required": True}
    controller = Controller(Keeper(), hostname="127.0.0.1", port=port, **options)
else:
    controller = Controller(Keeper(), hostname="127.0.0.1", port=port, ssl_context=certificate())
controller.start()
print(port, flush=True)
sys.stdin.read()
controller.stop()
