"""An S3 server on loopback, for this process and those that it starts."""

from pathlib import Path

import pytest


class Bucket:
    """A new bucket.

    Attributes:
        url: s3://NAME.
    """

    def __init__(self, name: str) -> None:
        import s3fs

        self.url = f"s3://{name}"
        self._store = s3fs.S3FileSystem()
        self._store.mkdir(name)

    def put(self, file: str | Path, name: str) -> None:
        self._store.pipe_file(f"{self.url}/{name}", Path(file).read_bytes())


@pytest.fixture(scope="module")
def s3_server():
    from moto.server import ThreadedMotoServer

    with pytest.MonkeyPatch.context() as patch:
        server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
        server.start()
        host, port = server.get_host_and_port()
        for name, value in {
            "AWS_ENDPOINT_URL": f"http://{host}:{port}",
            "AWS_ACCESS_KEY_ID": "someone",
            "AWS_SECRET_ACCESS_KEY": "something",
            "AWS_DEFAULT_REGION": "us-east-1",
        }.items():
            patch.setenv(name, value)
        yield
        server.stop()


@pytest.fixture
def bucket(s3_server, request):
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()  # of another server
    return Bucket(f"b{abs(hash(request.node.name))}")
