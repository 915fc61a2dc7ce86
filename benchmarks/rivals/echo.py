"""The limit: a bare grpc.aio server on uvloop that parses the request and returns an answer made before; it asks nobody."""

import argparse
from pathlib import Path

import grpc
import uvloop

from benchmarks.rivals.process import until_told_to_stop
from protos.habitus.v1 import predictor_pb2 as pb
from protos.habitus.v1 import predictor_pb2_grpc


class Echo(predictor_pb2_grpc.PredictorServicer):
    """Answers every request with the same message, which is serialised each time, as any answer is."""

    def __init__(self, answer: pb.PredictResponse) -> None:
        self._answer = answer

    async def Predict(self, request: pb.PredictRequest, context: grpc.aio.ServicerContext) -> pb.PredictResponse:  # noqa: ARG002, N802
        """The answer."""
        return self._answer


async def serve(address: str, answer: pb.PredictResponse) -> None:
    """Serve until a signal asks to stop."""
    server = grpc.aio.server()
    predictor_pb2_grpc.add_PredictorServicer_to_server(Echo(answer), server)  # type: ignore[no-untyped-call]
    server.add_insecure_port(address)
    await server.start()
    await until_told_to_stop()
    await server.stop(0)


def main() -> None:
    """`python -m benchmarks.rivals.echo --address HOST:PORT --answer FILE`, a file that holds a serialised answer."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--address", required=True)
    parser.add_argument("--answer", type=Path, required=True)
    given = parser.parse_args()
    uvloop.run(serve(given.address, pb.PredictResponse.FromString(given.answer.read_bytes())))


if __name__ == "__main__":
    main()
