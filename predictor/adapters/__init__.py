"""The predictor's effects and its transport.

`grpc_server` (the edge: services on a port) · `grpc_messages` (protobuf to requests, answers to protobuf) · `grpc_errors` (errors
to codes) · `health` (what the health service says) · `model_files` (MLflow) and `local_copies` · `kafka_log` (the prediction
log) · `model_events` (what wakes the reload) · `refusals` (tells of a model that was refused).
"""
