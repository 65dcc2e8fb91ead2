"""What the vendor of an appliance has: keys, update packages, certificates, licenses."""

import hashlib
import os
import pathlib
import shutil
import subprocess

from machine import run


class Vendor:
    def __init__(self, directory, repository, program):
        self.directory = pathlib.Path(directory)
        self.program = program
        self.directory.mkdir()
        self.builder = pathlib.Path(repository, "docs/build-update.sh")
        run("openssl", "genpkey", "-quiet", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048",
            "-out", self.directory / "sign.key")
        run("openssl", "pkey", "-in", self.directory / "sign.key", "-pubout", "-out", self.directory / "updates.pub")
        for name in ("updates.key", "other.key"):
            (self.directory / name).write_text(os.urandom(24).hex() + "\n")
        self.number = 0

    def file(self, name):
        return self.directory / name

    # --- updates ---

    def package(self, version, script, rollback=None, key="updates.key", tampered=False):
        """An update package, encrypted and signed by docs/build-update.sh, as a vendor makes it."""
        self.number += 1
        tree = self.directory / f"package-{self.number}"
        tree.mkdir()
        self.script(tree / "update.sh", script)
        if rollback:
            self.script(tree / "rollback.sh", rollback)
        if version:
            (tree / "version.txt").write_text(version + "\n")
        (tree / "changelog.txt").write_text(f"{version}: made by the tests\n")
        packed = self.directory / f"package-{self.number}.enc"
        if tampered:
            self.pack_tampered(tree, packed)
        else:
            run("sh", self.builder, "--program", self.program, "--key", self.file("sign.key"), "--pass", self.file(key), "--out", packed, tree)
        data = packed.read_bytes()
        shutil.rmtree(tree)
        packed.unlink()
        return data

    def script(self, path, text):
        path.write_text("#!/bin/sh\nset -eu\n" + text)
        path.chmod(0o755)

    def pack_tampered(self, tree, packed):
        """Signed, then changed, then encrypted with the right key: only the signature can tell."""
        work = self.directory / "tampering"
        work.mkdir()
        archive = work / "software_package.tar.gz"
        run("tar", "-C", tree, "--owner=0", "--group=0", "-czf", archive, ".")
        run("openssl", "dgst", "-sha256", "-sign", self.file("sign.key"),
            "-out", work / "software_package.tar.gz.sign", archive)
        (tree / "update.sh").write_text("#!/bin/sh\ntouch /root/tampered\n")
        run("tar", "-C", tree, "--owner=0", "--group=0", "-czf", archive, ".")
        run("tar", "-C", work, "-cf", work / "both.tar", "software_package.tar.gz", "software_package.tar.gz.sign")
        run("openssl", "enc", "-aes-256-cbc", "-md", "sha256", "-pbkdf2", "-pass", f"file:{self.file('updates.key')}",
            "-in", work / "both.tar", "-out", packed)
        shutil.rmtree(work)

    # --- certificates ---

    def certificate(self, name, address="10.77.0.2", kind="rsa"):
        """Certificate and key as bytes, and the SHA-256 of the certificate as a client sees it."""
        self.number += 1
        key, pem = self.file(f"{self.number}.key"), self.file(f"{self.number}.pem")
        algorithm = ["rsa:2048"] if kind == "rsa" else ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
        family = [f"IP:{address}"] if address else []
        run("openssl", "req", "-x509", "-newkey", *algorithm, "-nodes", "-sha256", "-days", "30", "-subj",
            f"/CN={name}", "-addext", f"subjectAltName={','.join([f'DNS:{name}', 'DNS:appliance', *family])}",
            "-addext", "basicConstraints=critical,CA:FALSE", "-keyout", key, "-out", pem)
        der = subprocess.run(["openssl", "x509", "-in", pem, "-outform", "DER"], capture_output=True, check=True).stdout
        return Pair(pem, key, der)


class Pair:
    def __init__(self, pem, key, der):
        self.pem_path = pem
        self.pem = pem.read_bytes()
        self.key = key.read_bytes()
        self.fingerprint = hashlib.sha256(der).hexdigest()

    def form(self):
        return {"public": self.pem, "private": self.key}
