"""The server's certificate and whom it asks for one.

Place in the flow: the server listens with `server_credentials`, or in the clear where there are none. The settings have checked
that the files fit together; a renewed certificate is read at the next start.
"""

import grpc

from predictor.protection.settings import ProtectionSettings


def server_credentials(settings: ProtectionSettings) -> grpc.ServerCredentials | None:
    """TLS with the certificate of the settings, mutual if they name the clients' authorities; None without a certificate."""
    certificate, key = settings.predictor_tls_certfile, settings.predictor_tls_keyfile
    if certificate is None or key is None:
        return None
    clients = settings.predictor_tls_client_cafile
    authorities = None if clients is None else clients.read_bytes()
    pair = (key.read_bytes(), certificate.read_bytes())
    return grpc.ssl_server_credentials([pair], root_certificates=authorities, require_client_auth=authorities is not None)
