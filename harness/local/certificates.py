"""The certificate of a local environment that serves https, by an authority of its own."""

import ssl
from pathlib import Path

from mwaa_headroom.harness.local.instance import writing_to
from mwaa_headroom.harness.local.loopback import LOOPBACK


def make_certificate(ca_file: Path) -> ssl.SSLContext:
    """A server's context with a new certificate; the authority's own goes into `ca_file`.

    No private key is kept on disk.

    Raises:
        EnvironmentStartError: the file cannot be written.
    """
    import trustme

    authority = trustme.CA(organization_name="headroom")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    names = (LOOPBACK, "localhost", "*.localhost")
    authority.issue_cert(*names).configure_cert(context)
    with writing_to(ca_file.parent):
        ca_file.write_bytes(authority.cert_pem.bytes())
    return context
