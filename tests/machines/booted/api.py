"""A client of the API: over TLS, through the web server, from the other end of the cable."""

import hashlib
import hmac
import http.client
import json
import os
import socket
import ssl

from report import poll

PORT = 8443
PREFIX = "/api/v1/admin"


class Answer:
    def __init__(self, status, headers, body):
        self.status = status
        self.headers = headers
        self.body = body

    def json(self):
        try:
            return json.loads(self.body)
        except ValueError:
            return {}

    def __repr__(self):
        return f"{self.status} {self.body[:300]!r}"


# Nothing came back: no route, nobody listens, or the answer broke off.
NOTHING = (OSError, http.client.HTTPException)


class Api:
    def __init__(self, address="10.77.0.2", token=None):
        self.address = address
        self.token = token

    def at(self, address):
        return Api(address, self.token)

    def request(self, method, path, form=None, token=None, query="", timeout=60, signed=False):
        """`form` maps names to text, or to bytes, which are sent as a file."""
        path = path if path.startswith("/docs") else PREFIX + path
        token = self.token if token is None else token
        words = [query] if query else []
        if token and signed:
            key = hashlib.sha256(token.encode()).hexdigest().encode()
            words.append("hash=" + hmac.new(key, (method + path).encode(), "sha256").hexdigest())
        elif token:
            words.append("token=" + token)
        target = path + ("?" + "&".join(words) if words else "")
        headers, body = {}, None
        if form is not None:
            boundary = os.urandom(12).hex()
            headers["Content-Type"] = f"multipart/form-data; boundary={boundary}"
            body = multipart(form, boundary)
        connection = http.client.HTTPSConnection(self.address, PORT, timeout=timeout, context=unchecked())
        try:
            connection.request(method, target, body, headers)
            answer = connection.getresponse()
            return Answer(answer.status, answer.headers, answer.read())
        finally:
            connection.close()

    def get(self, path, **options):
        return self.request("GET", path, **options)

    def post(self, path, form, **options):
        return self.request("POST", path, form, **options)

    def answers(self, timeout=2):
        """Whether the API is there: 403 is right for a stranger."""
        try:
            return self.request("GET", "/version", token="", timeout=timeout).status == 403
        except NOTHING:
            return False

    def wait(self, seconds=60):
        return poll(self.answers, seconds, 0.1) is True

    def wait_status(self, path, *words, seconds=60):
        """The first answer of GET `path` whose status is one of these; the last one when the time is over."""
        last = [None]

        def ask():
            try:
                last[0] = self.get(path)
            except NOTHING:
                return None
            return last[0] if last[0].json().get("status") in words else None
        return poll(ask, seconds, 0.2) or last[0]

    def fingerprint(self):
        """SHA-256 of the certificate that a client is shown right now."""
        try:
            with socket.create_connection((self.address, PORT), 5) as connection:
                with unchecked().wrap_socket(connection, server_hostname=None) as tls:
                    return hashlib.sha256(tls.getpeercert(binary_form=True)).hexdigest()
        except OSError:
            return None

    def trusts(self, authority, name):
        """Whether a client that knows `authority` takes what is served for `name`."""
        context = ssl.create_default_context(cafile=authority)
        try:
            with socket.create_connection((self.address, PORT), 5) as connection:
                with context.wrap_socket(connection, server_hostname=name):
                    return True
        except OSError:
            return False

    def half_upload(self, path, name, n_sent):
        """Begins an upload and keeps it open: the connection, to be closed by whoever asked for it."""
        connection = unchecked().wrap_socket(socket.create_connection((self.address, PORT), 10))
        head = (f'--b\r\nContent-Disposition: form-data; name="{name}"; filename="f"\r\n\r\n').encode()
        connection.sendall((f"POST {PREFIX}{path}?token={self.token} HTTP/1.1\r\nHost: appliance\r\n"
                            "Content-Type: multipart/form-data; boundary=b\r\n"
                            f"Content-Length: {n_sent * 4}\r\n\r\n").encode() + head)
        connection.sendall(os.urandom(n_sent))
        return connection


def unchecked():
    """The appliance's certificate is its own until somebody gives it another; what we check we check by name."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def multipart(form, boundary):
    parts = []
    for name, value in form.items():
        filename = '; filename="file"' if isinstance(value, bytes) else ""
        data = value if isinstance(value, bytes) else value.encode()
        parts.append(f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"{filename}\r\n\r\n'.encode())
        parts.append(data + b"\r\n")
    return b"".join(parts) + f"--{boundary}--\r\n".encode()


def settings(address, gateway=None, prefix=None, hostname="appliance", app="one", interface="eth0", ntpserver=None):
    """The document for POST /settings: static at `address`, or by DHCP if that is None."""
    network = {"interface": interface, "hostname": hostname}
    if address:
        network["ip_address"] = address
        network["netmask"] = prefix or ("/64" if ":" in address else "255.255.255.0")
        network["gateway"] = gateway
    if ntpserver:
        network["ntpserver"] = ntpserver
    return json.dumps({"network": network, "app": {"name": app}}).encode()
