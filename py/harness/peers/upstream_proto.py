# SPDX-License-Identifier: Apache-2.0
"""The files of proto/ as classes, without generated files: protoc says what is in them, once a process, and protobuf makes the rest.

    pb.InputStreamRequest, pb.OutputStreamRequest(client_uuid=..., payload=b"...", command=pb.COMMAND_CLOSE), pb.EVENT_CONNECTED, pb.Empty
    pb.name("CloseReason", 2) == "CLOSE_RESET"
    control.SendRequest(client_uuid=..., payload=b"..."), control.WATCH_CONNECTED
"""

import functools
import subprocess
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from harness.scale import ROOT

SERVICE = "upstream.grpc.service.UpstreamPeerService"


class Proto:
    def __init__(self, file: str, package: str) -> None:
        self._file = file
        self._package = package

    @functools.cached_property
    def _pool(self) -> Any:
        folder = ROOT / "proto"
        words = ["protoc", f"--proto_path={folder}", "--proto_path=/usr/include", "--include_imports", "--descriptor_set_out=/dev/stdout", self._file]
        done = subprocess.run(words, capture_output=True, check=False, timeout=60)
        assert done.returncode == 0, f"protoc: {done.stderr.decode(errors='replace')}"
        pool = descriptor_pool.DescriptorPool()
        for file in descriptor_pb2.FileDescriptorSet.FromString(done.stdout).file:
            pool.Add(file)
        return pool

    @functools.cached_property
    def _names(self) -> dict[str, Any]:
        """Messages and numbers by their names in the file."""
        factory = message_factory.MessageFactory(self._pool)
        file = self._pool.FindFileByName(self._file)
        names = {name: factory.GetPrototype(kind) for name, kind in file.message_types_by_name.items()}
        for kind in file.enum_types_by_name.values():
            names.update({value.name: value.number for value in kind.values})
        if self is pb:
            names["Empty"] = factory.GetPrototype(self._pool.FindMessageTypeByName("google.protobuf.Empty"))
        return names

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name not in self._names:
            raise AttributeError(name)
        return self._names[name]

    def name(self, enum: str, number: int) -> str:
        return str(self._pool.FindEnumTypeByName(f"{self._package}.{enum}").values_by_number[number].name)


pb = Proto("upstream.proto", "upstream.grpc.service")
control = Proto("control.proto", "relay.plex.control")
