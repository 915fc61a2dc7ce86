"""How `habitus predict` reaches the predictor: in the clear or by TLS, with a certificate or a token of its own.

Place in the flow: the settings are `HABITUS_PREDICTOR_CLIENT_*`; the predictor's own files are never asked for.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from predictor.protection.settings import ProtectionSettings


def open_channel(address: str, settings: "ProtectionSettings") -> Any:
    """A channel, to be used in a `with`: by TLS if the settings say whom to trust."""
    import grpc

    trusted = settings.predictor_client_cafile
    if trusted is None:
        return grpc.insecure_channel(address)
    key, certificate = settings.predictor_client_keyfile, settings.predictor_client_certfile
    credentials = grpc.ssl_channel_credentials(
        trusted.read_bytes(),
        None if key is None else key.read_bytes(),
        None if certificate is None else certificate.read_bytes(),
    )
    return grpc.secure_channel(address, credentials)


def credentials_of(settings: "ProtectionSettings") -> tuple[tuple[str, str], ...]:
    """The metadata that say who we are; none without a token."""
    token = settings.predictor_client_token
    return () if token is None else (("authorization", f"Bearer {token.get_secret_value()}"),)
