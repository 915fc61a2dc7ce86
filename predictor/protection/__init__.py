"""What keeps the predictor whole under load and strangers, without any transport.

`tokens` (who may ask) · `rates` (how often one client may ask) · `admission` (how many at once) · `circuit` (not asking what
does not answer) · `settings`. `adapters/grpc_guard` binds the first three to gRPC; `circuit` stands around the feature reader.
"""
