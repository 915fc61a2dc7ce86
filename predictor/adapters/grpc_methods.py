"""The methods of `habitus.v1.Predictor` as gRPC calls them: what reads their messages, what answers, what writes the answers.

Place in the flow: the server registers `method_handlers`. A message that cannot be read reaches the service as its error, so that
it is answered with the code of the contract and fills no log; the generated code would answer UNKNOWN and log a traceback.
"""

from collections.abc import Callable, Mapping
from typing import TypeVar

import grpc
from google.protobuf.message import DecodeError, Message

from protos.habitus.v1 import predictor_pb2 as pb
from protos.habitus.v1.predictor_pb2_grpc import PredictorServicer
from runtime.errors import InvalidRequest, Violation

SERVICE = "habitus.v1.Predictor"
M = TypeVar("M", bound=Message)


def method_handlers(service: PredictorServicer) -> Mapping[str, grpc.RpcMethodHandler]:
    """The handlers of `service` by the method's name."""
    unary, stream = grpc.unary_unary_rpc_method_handler, grpc.stream_stream_rpc_method_handler
    return {
        "Predict": unary(service.Predict, _reads(pb.PredictRequest), pb.PredictResponse.SerializeToString),
        "PredictBatch": unary(service.PredictBatch, _reads(pb.PredictBatchRequest), pb.PredictBatchResponse.SerializeToString),
        "PredictStream": stream(service.PredictStream, _reads(pb.PredictRequest), pb.PredictResult.SerializeToString),
        "GetVersion": unary(service.GetVersion, _reads(pb.GetVersionRequest), pb.GetVersionResponse.SerializeToString),
    }


def _reads(kind: type[M]) -> Callable[[bytes], M | InvalidRequest]:
    def read(data: bytes) -> M | InvalidRequest:
        try:
            return kind.FromString(data)
        except DecodeError:
            return InvalidRequest(Violation("", f"not a {kind.DESCRIPTOR.full_name} in protobuf"))

    return read
