"""TLS as OtlpConfig asks for it, the same for HTTP and gRPC."""

from __future__ import annotations

import os
import ssl
from collections.abc import Sequence

from flowspan.config import OtlpConfig
from flowspan.delivery._transport import Refused, Verdict


def context_for(otlp: OtlpConfig, alpn: Sequence[str]) -> ssl.SSLContext:
    """
    Trusts *certificate*, or what the machine trusts; shows our certificate where there is one.

    Raises `Refused` for files that do not hold what they should.
    """
    bundle = otlp.certificate
    if bundle is None and otlp.protocol == "grpc":
        bundle = os.environ.get("GRPC_DEFAULT_SSL_ROOTS_FILE_PATH") or None
    try:
        context = trusting(bundle)
    except OSError as error:
        raise _unusable("the CAs", bundle or _named_by_environment(), error) from error
    if otlp.certificate:
        # From 3.13 on Python wants of a private CA what neither grpcio nor older ones did.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if otlp.client_certificate:
        try:
            # Without a password, OpenSSL would ask for one at the terminal.
            context.load_cert_chain(otlp.client_certificate, otlp.client_key, password="")
        except OSError as error:
            raise _unusable("our certificate", otlp.client_certificate, error) from error
    context.set_alpn_protocols(list(alpn))
    return context


def _unusable(what: str, where: str, error: OSError) -> Refused:
    if isinstance(error, ssl.SSLError):
        reason = str(error.reason or "no PEM in it").replace("_", " ").lower()
    else:
        reason = error.strerror or type(error).__name__
    return Refused(Verdict.MISCONFIGURED, f"{what} in {where} cannot be used: {reason}")


_BUNDLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


def _named_by_environment() -> str:
    named = (f"{name}={os.environ[name]}" for name in _BUNDLES if os.environ.get(name))
    return next(named, "this machine's store")


def trusting(bundle: str | None = None) -> ssl.SSLContext:
    """
    A context that trusts *bundle* only, or without one what this machine trusts.

    That is the bundle that REQUESTS_CA_BUNDLE or CURL_CA_BUNDLE names, else the system's CAs and
    those of certifi: slim images have no system CAs, and companies add theirs to the system's.
    """
    path = bundle or next(filter(None, map(os.environ.get, _BUNDLES)), None)
    if path and os.path.isdir(path):
        return ssl.create_default_context(capath=path)
    if path:
        return ssl.create_default_context(cafile=path)
    context = ssl.create_default_context()
    try:
        import certifi

        context.load_verify_locations(certifi.where())
    except (ImportError, OSError):
        pass  # the system's are there
    return context
