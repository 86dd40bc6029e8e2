"""Write the code generated from the protos, or check that the written code is fresh.

    python protos/generate.py                 write the generated code of server and client
    python protos/generate.py --check         exit with 1 and a list if anything differs
    python protos/generate.py --third-party   only lay out the protos that `buf` needs

Every tool comes from the environment that runs this file, so the lock decides the output.
The googleapis protos are those inside the googleapis-common-protos wheel.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import client_stubs
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet

ROOT = Path(__file__).resolve().parent.parent
PROTOS = ROOT / "protos"
THIRD_PARTY = PROTOS / "third_party"
SERVER = Path("server/generated")
CLIENT = Path("client/interview_client/generated")
OUTPUTS = (SERVER, CLIENT)

DETAILS = "google/rpc/error_details.proto"
"""What a google.rpc.Status inside our messages carries, which no import of ours tells."""

_OWN_IMPORT = re.compile(r"^from interview\.", re.MULTILINE)


def generate(into: Path) -> None:
    """Write all generated code below `into`, which stands for the project's root."""
    described = describe()
    _generate_server(into / SERVER, own_files(described))
    _generate_client(into / CLIENT, described)


def describe() -> FileDescriptorSet:
    """Return the descriptors of our protos and of everything they import, comments included."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "descriptors")
        flags = [f"--descriptor_set_out={out}", "--include_imports", "--include_source_info"]
        _protoc(flags, [str(path.relative_to(PROTOS)) for path in _sources()])
        return FileDescriptorSet.FromString(out.read_bytes())


def own_files(described: FileDescriptorSet) -> list[FileDescriptorProto]:
    """Return the files that are ours, not imported from elsewhere."""
    return [file for file in described.file if file.name.startswith("interview/")]


def _sources() -> list[Path]:
    return sorted(PROTOS.glob("interview/**/*.proto"))


def _wheel() -> Path:
    """Return the folder that holds google/api, google/rpc and google/type with their protos."""
    spec = find_spec("google.rpc.status_pb2")
    if spec is None or spec.origin is None:
        raise RuntimeError("googleapis-common-protos is not installed")
    return Path(spec.origin).parents[2]


def _protoc(flags: list[str], files: list[str]) -> None:
    """Run the compiler of grpcio-tools, which brings google/protobuf with it."""
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{PROTOS}", f"-I{_wheel()}"]
    # Plugins, and the formatter that one of them calls, stand beside the interpreter.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    done = subprocess.run(
        [*command, *flags, *files],
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        sys.exit(done.stderr or f"protoc ended with {done.returncode}")


def _generate_server(out: Path, files: list[FileDescriptorProto]) -> None:
    """Write protobuf messages, grpc servicers and their types as package server.generated."""
    out.mkdir(parents=True)
    names = [file.name for file in files]
    _protoc([f"--python_out={out}", f"--mypy_out={out}"], names)
    services = [file.name for file in files if file.service]
    _protoc([f"--grpc_python_out={out}", f"--mypy_grpc_out=only_async:{out}"], services)
    for path in [*out.rglob("*.py"), *out.rglob("*.pyi")]:
        # The compiler writes imports as if its output folder were on sys.path.
        text = _OWN_IMPORT.sub("from server.generated.interview.", path.read_text("utf-8"))
        path.write_text(text, "utf-8")
    _make_packages(out)


def _generate_client(out: Path, described: FileDescriptorSet) -> None:
    """Write betterproto2 messages and our grpc.aio stubs as package interview_client.generated."""
    out.mkdir(parents=True)
    files = own_files(described)
    # The stubs that betterproto2 writes need grpclib; ours speak grpc.aio.
    option = "--python_betterproto2_opt=client_generation=none,server_generation=none"
    flags = [f"--python_betterproto2_out={out}", option]
    # Without the details a status in a message could not be written as JSON.
    _protoc(flags, [*(file.name for file in files), DETAILS])
    for file in files:
        if file.service:
            target = (out / file.name).with_name(f"{Path(file.name).stem}_stub.py")
            target.write_text(client_stubs.stub_module(file), "utf-8")
    facts = client_stubs.facts_of(described)
    (out / "methods.py").write_text(client_stubs.methods_module(facts), "utf-8")
    config = client_stubs.service_config(facts)
    (out / "grpc_service_config.json").write_text(config, "utf-8")


def _make_packages(out: Path) -> None:
    for folder in [out, *(path for path in out.rglob("*") if path.is_dir())]:
        (folder / "__init__.py").touch()


def lay_out_third_party() -> None:
    """Copy the imported googleapis protos to where buf.yaml looks for them."""
    shutil.rmtree(THIRD_PARTY, ignore_errors=True)
    for file in describe().file:
        # buf brings google/protobuf itself.
        if not file.name.startswith(("interview/", "google/protobuf/")):
            target = THIRD_PARTY / file.name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(_wheel() / file.name, target)


def _contents(root: Path) -> Iterator[tuple[Path, bytes]]:
    for output in OUTPUTS:
        for path in sorted((root / output).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                yield path.relative_to(root), path.read_bytes()


def differences(fresh: Path) -> list[Path]:
    """Return the files whose content or existence differs between `fresh` and the project."""
    wanted, found = dict(_contents(fresh)), dict(_contents(ROOT))
    return sorted(
        path for path in wanted.keys() | found.keys() if wanted.get(path) != found.get(path)
    )


def _take_over(fresh: Path, changed: list[Path]) -> None:
    for path in changed:
        source, target = fresh / path, ROOT / path
        if source.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
        else:
            target.unlink()


def main() -> int:
    """Run the mode that the command line names; return the exit status."""
    parser = argparse.ArgumentParser(description="Write or check the generated code.")
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--check", action="store_true", help="change nothing, fail if stale")
    mode.add_argument("--third-party", action="store_true", help="only what buf needs")
    options = parser.parse_args()
    if options.third_party:
        lay_out_third_party()
        return 0
    with tempfile.TemporaryDirectory() as folder:
        fresh = Path(folder)
        generate(fresh)
        changed = differences(fresh)
        if options.check:
            print(*(f"stale: {path}" for path in changed), sep="\n", end="\n" if changed else "")
            return 1 if changed else 0
        _take_over(fresh, changed)
    lay_out_third_party()
    return 0


if __name__ == "__main__":
    sys.exit(main())
