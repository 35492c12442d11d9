"""A certificate authority for tests, made with openssl."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest


def make(folder: Path) -> Path:
    """
    A CA, and a server's and a client's certificate by it; `other.pem` is a CA of no one.

    `expired.pem`, `elsewhere.pem` (for collector.example) and `stranger.pem` (a client's, by the
    other CA) have the server's or the client's key.
    """

    def openssl(*arguments: str) -> None:
        try:
            subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)
        except FileNotFoundError:
            pytest.skip("openssl makes the certificates: apt-get install openssl")

    # Python 3.13 verifies strictly: each certificate says what it is for and who signed it
    (folder / "request").write_text("[req]\ndistinguished_name = name\n[name]\n")
    (folder / "usage").write_text(
        "subjectAltName = IP:127.0.0.1,DNS:localhost\n"
        "basicConstraints = critical,CA:FALSE\n"
        "keyUsage = critical,digitalSignature,keyEncipherment\n"
        "extendedKeyUsage = serverAuth,clientAuth\n"
        "subjectKeyIdentifier = hash\n"
        "authorityKeyIdentifier = keyid\n"
    )
    key = ("-newkey", "rsa:2048", "-nodes", "-days", "2", "-config", "request")
    for_ca = [
        *("-addext", "basicConstraints = critical,CA:TRUE"),
        *("-addext", "keyUsage = critical,keyCertSign,cRLSign"),
        *("-addext", "subjectKeyIdentifier = hash"),
    ]
    for ca in ("ca", "other"):
        name = ("-subj", f"/CN={ca}", "-keyout", f"{ca}.key", "-out", f"{ca}.pem")
        openssl("req", "-x509", *key, *name, *for_ca)
    for who in ("server", "client"):
        openssl("req", *key, "-subj", f"/CN={who}", "-keyout", f"{who}.key", "-out", f"{who}.csr")
        signed = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-extfile", "usage")
        openssl("x509", "-req", "-in", f"{who}.csr", *signed, "-days", "2", "-out", f"{who}.pem")
    usage = (folder / "usage").read_text()
    elsewhere = usage.replace("IP:127.0.0.1,DNS:localhost", "DNS:collector.example")
    (folder / "elsewhere").write_text(elsewhere)
    ours = ("x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key")
    openssl(*ours, "-extfile", "usage", "-days", "-1", "-out", "expired.pem")
    openssl(*ours, "-extfile", "elsewhere", "-days", "2", "-out", "elsewhere.pem")
    theirs = ("x509", "-req", "-in", "client.csr", "-CA", "other.pem", "-CAkey", "other.key")
    openssl(*theirs, "-CAcreateserial", "-extfile", "usage", "-days", "2", "-out", "stranger.pem")
    return folder
