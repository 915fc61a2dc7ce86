"""The hand-made message of the Open Inference Protocol."""

import struct

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from benchmarks.rivals.mlserver import holds, request_for

FIELD = descriptor_pb2.FieldDescriptorProto


def protocol() -> type:
    """`ModelInferRequest`, as far as we use it, by the numbers of the protocol's own file."""
    file = descriptor_pb2.FileDescriptorProto(name="v2_test.proto", package="v2_test", syntax="proto3")
    contents = file.message_type.add(name="Contents")
    contents.field.add(name="fp64", number=7, type=FIELD.TYPE_DOUBLE, label=FIELD.LABEL_REPEATED)
    tensor = file.message_type.add(name="Tensor")
    tensor.field.add(name="name", number=1, type=FIELD.TYPE_STRING)
    tensor.field.add(name="datatype", number=2, type=FIELD.TYPE_STRING)
    tensor.field.add(name="shape", number=3, type=FIELD.TYPE_INT64, label=FIELD.LABEL_REPEATED)
    tensor.field.add(name="contents", number=5, type=FIELD.TYPE_MESSAGE, type_name=".v2_test.Contents")
    request = file.message_type.add(name="Request")
    request.field.add(name="model_name", number=1, type=FIELD.TYPE_STRING)
    request.field.add(name="inputs", number=5, type=FIELD.TYPE_MESSAGE, type_name=".v2_test.Tensor", label=FIELD.LABEL_REPEATED)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("v2_test.Request"))


def test_a_row_becomes_one_tensor_of_the_protocol() -> None:
    row = [float(number) / 3 for number in range(40)]
    request = protocol().FromString(request_for(row))
    (tensor,) = request.inputs
    assert (request.model_name, tensor.datatype, list(tensor.shape)) == ("obesity-level", "FP64", [1, 40])
    assert list(tensor.contents.fp64) == row


def test_an_answer_is_right_only_with_the_very_same_numbers() -> None:
    answer = b"head" + struct.pack("<3d", 0.1, 0.2, 0.7) + b"tail"
    assert holds(answer, [0.1, 0.2, 0.7])
    assert not holds(answer, [0.1, 0.2, 0.7 + 1e-16])
