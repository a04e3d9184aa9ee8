"""A real HTTP server that stands for PhysioNet, Zenodo, figshare, Dataverse, GitHub, TCIA and plain web sites.

It serves the paths those sites have, with range requests, validators, basic authentication, redirects to another host,
checksum lists and record APIs; and it can drop connections, answer with errors, slow down or change a file. Content is
synthetic. `python tests/download_server.py DIR` runs it alone and prints its port.
"""

import base64
import contextlib
import hashlib
import io
import json
import re
import sys
import threading
import time
import zipfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

#: Hosts of the publishers; `CLIMB_MIRRORS` sends their requests to folders of this server.
HOSTS = {
    "https://physionet.org": "physionet",
    "https://zenodo.org": "zenodo",
    "https://api.figshare.com": "figshare",
    "https://dataverse.harvard.edu": "dataverse",
    "https://github.com": "github",
    "https://api.github.com": "github-api",
    "https://codeload.github.com": "codeload",
    "https://services.cancerimagingarchive.net/nbia-api/services/v1": "nbia",
    "https://www.example.org": "web",
}


@dataclass
class Fault:
    """What goes wrong with requests whose path fits.

    Args:
        pattern: regular expression of the path.
        times: how often; then all is well.
        status: answer with this status.
        drop_after: close the connection after so many bytes of the body.
        page: answer with a web page.
        headers: further headers.
    """

    pattern: str
    times: int = 1
    status: int = 0
    drop_after: int | None = None
    page: bool = False
    headers: dict[str, str] = field(default_factory=dict)


class Publisher:
    """The content and behaviour of the server, shared by its threads."""

    def __init__(self) -> None:
        self.files: dict[str, bytes | Path] = {}
        self.private: dict[str, str] = {}  # path prefix -> user:password
        self.faults: list[Fault] = []
        self.latency = 0.0
        self.rate = 0.0
        self.ranges = True
        self.validators = True
        self.chunked = False
        self.log: list[tuple[str, str, str]] = []
        self.seen: list[str] = []
        self.sent = Counter()
        self.lock = threading.Lock()
        self.active = self.most_active = 0
        self.port = 0

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def mirrors(self) -> str:
        """Value of `CLIMB_MIRRORS`."""
        return ",".join(f"{host}={self.base}/{folder}" for host, folder in HOSTS.items())

    def requests(self, pattern: str) -> list[tuple[str, str, str]]:
        """Requests (method, path, range) whose path fits."""
        return [entry for entry in self.log if re.search(pattern, entry[1])]

    def fault(self, path: str) -> Fault | None:
        with self.lock:
            for fault in self.faults:
                if fault.times and re.search(fault.pattern, path):
                    fault.times -= 1
                    return fault
        return None

    # ------------------------------------------------------------------ sites

    def physionet(self, slug: str, version: str, files: dict[str, bytes], login: str = "") -> None:
        """Publish a project with its `SHA256SUMS.txt`; `login` is user:password of the only account that signed."""
        root = f"/physionet/files/{slug}/{version}"
        for path, content in files.items():
            self.files[f"{root}/{path}"] = content
        lines = [f"{hashlib.sha256(content).hexdigest()} {path}\n" for path, content in sorted(files.items())]
        self.files[f"{root}/SHA256SUMS.txt"] = "".join(lines).encode()
        if login:
            self.private[root] = login

    def zenodo(self, record: str, files: dict[str, bytes]) -> None:
        entries = []
        for key, content in files.items():
            path = f"/zenodo/api/records/{record}/files/{key}/content"
            self.files[path] = content
            md5 = hashlib.md5(content).hexdigest()
            link = f"https://zenodo.org{path.removeprefix('/zenodo')}"
            entries.append({"key": key, "size": len(content), "checksum": f"md5:{md5}", "links": {"self": link}})
        self.files[f"/zenodo/api/records/{record}"] = json.dumps({"id": int(record), "files": entries}).encode()

    def figshare(self, article: str, files: dict[str, bytes]) -> None:
        entries = []
        for number, (name, content) in enumerate(files.items()):
            self.files[f"/web/figshare/{number}"] = content
            url, md5 = f"https://www.example.org/figshare/{number}", hashlib.md5(content).hexdigest()
            entries.append({"name": name, "size": len(content), "download_url": url, "computed_md5": md5})
        self.files[f"/figshare/v2/articles/{article}"] = json.dumps({"files": entries}).encode()

    def dataverse(self, doi: str, files: dict[str, bytes], tables: dict[str, bytes]) -> None:
        entries = []
        for number, (name, content) in enumerate({**files, **tables}.items()):
            self.files[f"/dataverse/api/access/datafile/{number}"] = content
            data = {"id": number, "filename": name, "filesize": len(content)}
            if name in tables:
                stem = name.removesuffix(".csv")
                data |= {"filename": f"{stem}.tab", "originalFileName": name, "originalFileFormat": "text/csv"}
                data |= {"md5": "0" * 32, "originalFileSize": len(content)}
            else:
                data["md5"] = hashlib.md5(content).hexdigest()
            entries.append({"label": name, "dataFile": data})
        answer = {"data": {"latestVersion": {"files": entries}}}
        self.files[f"/dataverse/api/datasets/:persistentId/?persistentId=doi:{doi}"] = json.dumps(answer).encode()

    def github(self, repo: str, commit: str, files: dict[str, bytes], large: dict[str, bytes] | None = None) -> None:
        """Publish a repository at a commit; large files are pointers in the archive and come over LFS."""
        top, buffer = f"{repo.rpartition('/')[2]}-{commit}/", io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(top, "")
            for path, content in files.items():
                archive.writestr(top + path, content)
            for path, content in (large or {}).items():
                oid = hashlib.sha256(content).hexdigest()
                text = f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {len(content)}\n"
                archive.writestr(top + path, text)
                self.files[f"/web/lfs/{oid}"] = content
            archive.comment = commit.encode()
        self.files[f"/codeload/{repo}/zip/{commit}"] = buffer.getvalue()
        self.files[f"/github-api/repos/{repo}/commits/HEAD"] = json.dumps({"sha": commit}).encode()

    def tcia(self, collection: str, series: dict[str, tuple[str, str, dict[str, bytes]]]) -> None:
        """Publish a collection: Series UID -> patient, Study UID, files by name."""
        rows = []
        for uid, (patient, study, files) in series.items():
            rows.append({"SeriesInstanceUID": uid, "StudyInstanceUID": study, "PatientID": patient})
            rows[-1] |= {"Collection": collection, "ImageCount": len(files)}
            buffer = io.BytesIO()
            with zipfile.ZipFile(buffer, "w") as archive:
                sums = [f"{name},{hashlib.md5(content).hexdigest()}\n" for name, content in files.items()]
                archive.writestr("md5hashes.csv", "FileName,MD5Hash\n" + "".join(sums))
                archive.writestr("LICENSE", "terms")
                for name, content in files.items():
                    archive.writestr(name, content)
            self.files[f"/nbia/getImageWithMD5Hash?SeriesInstanceUID={uid}"] = buffer.getvalue()
        self.files[f"/nbia/getSeries?Collection={collection}&format=json"] = json.dumps(rows).encode()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    publisher: Publisher
    timeout = 20

    def log_message(self, *args: object) -> None:
        """Stay silent; `publisher.log` is the log."""

    def do_GET(self) -> None:
        self.serve()

    def do_HEAD(self) -> None:
        self.serve()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = urlsplit(self.path).path
        self.publisher.log.append(("POST", path, ""))
        if not path.endswith("/info/lfs/objects/batch"):
            self.reply(404, b"")
            return
        objects = []
        for item in json.loads(body)["objects"]:
            href = f"{self.publisher.base}/web/lfs/{item['oid']}?X-Amz-Signature=planted-signature"
            known = f"/web/lfs/{item['oid']}" in self.publisher.files
            actions = {"actions": {"download": {"href": href, "header": {"X-Lfs": "planted-header"}}}}
            objects.append({**item, **(actions if known else {"error": {"code": 404, "message": "not there"}})})
        self.reply(200, json.dumps({"objects": objects}).encode())

    def serve(self) -> None:
        publisher = self.publisher
        with publisher.lock:
            publisher.active += 1
            publisher.most_active = max(publisher.most_active, publisher.active)
            publisher.log.append((self.command, unquote(self.path), self.headers.get("Range", "")))
            publisher.seen.append(str(self.headers))
        try:
            if publisher.latency:
                time.sleep(publisher.latency)
            self.answer()
        finally:
            with publisher.lock:
                publisher.active -= 1

    def answer(self) -> None:
        publisher, path = self.publisher, unquote(self.path)
        fault = publisher.fault(path)
        if fault is not None and fault.status:
            self.reply(fault.status, b"error page", fault.headers)
            return
        if fault is not None and fault.page:
            self.reply(200, b"<!DOCTYPE html><html><form>Please log in</form></html>", {"Content-Type": "text/html"})
            return
        for prefix, login in publisher.private.items():
            expected = f"Basic {base64.b64encode(login.encode()).decode()}"
            if path.startswith(prefix) and self.headers.get("Authorization") != expected:
                self.reply(403 if self.headers.get("Authorization") else 401, b"")
                return
        content = publisher.files.get(path)
        if content is None:
            content = publisher.files.get(path.partition("?")[0])
        if content is None:
            self.reply(404, b"not here")
            return
        if isinstance(content, bytes) and content.startswith(b"redirect:"):
            self.reply(302, b"", {"Location": content.removeprefix(b"redirect:").decode()})
            return
        self.send(path, content, fault)

    def send(self, path: str, content: bytes | Path, fault: Fault | None) -> None:
        data = content if isinstance(content, bytes) else content.read_bytes()
        etag = f'"{hashlib.md5(data).hexdigest()}"'
        start, status, headers = 0, 200, dict(fault.headers) if fault else {}
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if_range = self.headers.get("If-Range")
        if self.publisher.ranges and wanted and (if_range is None or if_range == etag):
            start = int(wanted.group(1))
            if start >= len(data):
                self.reply(416, b"", {"Content-Range": f"bytes */{len(data)}"})
                return
            status, headers["Content-Range"] = 206, f"bytes {start}-{len(data) - 1}/{len(data)}"
        if self.publisher.validators:
            headers["ETag"] = etag
        self.send_response(status)
        for name, value in {"Content-Type": "application/octet-stream", **headers}.items():
            self.send_header(name, value)
        chunked = self.publisher.chunked and not start
        self.send_header(
            *(("Transfer-Encoding", "chunked") if chunked else ("Content-Length", str(len(data) - start)))
        )
        self.end_headers()
        if self.command == "HEAD":
            return
        end = len(data) if fault is None or fault.drop_after is None else min(len(data), start + fault.drop_after)
        with contextlib.suppress(OSError):
            for position in range(start, end, 1 << 16):
                block = data[position : min(end, position + (1 << 16))]
                self.wfile.write(b"%x\r\n%b\r\n" % (len(block), block) if chunked else block)
                with self.publisher.lock:
                    self.publisher.sent[path] += len(block)
                if self.publisher.rate:
                    time.sleep(len(block) / self.publisher.rate)
            if chunked and end == len(data):
                self.wfile.write(b"0\r\n\r\n")
        if end < len(data):
            self.close_connection = True
            with contextlib.suppress(OSError):
                self.connection.shutdown(2)

    def reply(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            with contextlib.suppress(OSError):
                self.wfile.write(body)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away is no news."""


@contextlib.contextmanager
def serve() -> Iterator[Publisher]:
    """Run the server in a thread for the time of the block."""
    publisher = Publisher()
    handler = type("Handler", (_Handler,), {"publisher": publisher})
    server = _Server(("127.0.0.1", 0), handler)
    publisher.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield publisher
    finally:
        server.shutdown()
        server.server_close()


def main() -> None:
    """Serve a folder as `/web/…`, with latency and rate from the command line."""
    publisher = Publisher()
    folder = Path(sys.argv[1])
    publisher.latency = float(sys.argv[2]) if len(sys.argv) > 2 else 0.0
    for path in folder.rglob("*"):
        if path.is_file():
            publisher.files[f"/web/{path.relative_to(folder).as_posix()}"] = path.read_bytes()
    handler = type("Handler", (_Handler,), {"publisher": publisher})
    server = _Server(("127.0.0.1", 0), handler)
    publisher.port = server.server_port
    print(server.server_port, flush=True)
    server.serve_forever()


__all__ = ["HOSTS", "Fault", "Publisher", "serve"]

if __name__ == "__main__":
    main()
