"""A data set repository of the Hub as target: workers upload, the main process commits in batches.

Each worker hands its shard to the large-file storage as soon as it is built; the main process adds many shards, with
their entries of the manifest, in one commit, as the Hub limits commits per hour. Every commit names the one before it,
so a second run on the same repository is noticed and stops. The token is that of `hf auth login` or `HF_TOKEN` on each
machine.
"""

import contextlib
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from climb_hf.errors import AccessError
from climb_hf.prepare.stores import Upload, storage_errors

if TYPE_CHECKING:
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

    from climb_hf.prepare.manifest import ShardEntry

__all__ = ["RepositoryStore"]

#: A commit is made at this many files, or seconds after the first of them.
_BATCH_FILES, _BATCH_SECONDS = 50, 300.0
#: Status of a commit whose parent is no longer the newest.
_CONFLICT = 412


class RepositoryStore:
    """A data set repository.

    Args:
        repo_id (`str`): `"user/name"`.
        revision (`str`, *optional*): branch; made if it does not exist.
        private (`bool`, *optional*, defaults to `False`): make it private; one that is public is refused then.
    """

    is_public_hub = True
    is_remote = True

    def __init__(self, repo_id: str, revision: str | None = None, private: bool = False) -> None:
        self.repo_id, self.revision, self._private = repo_id, revision, private
        self.url = f"hf://datasets/{repo_id}" + (f"@{revision}" if revision else "")
        self._waiting: list[CommitOperationAdd | CommitOperationDelete] = []
        self._since = 0.0
        self._head: str | None = None
        self._message = "climb prepare"

    def __getstate__(self) -> dict[str, Any]:
        """Leave what waits for a commit behind: workers upload, they do not commit."""
        return {**self.__dict__, "_waiting": []}

    @property
    def api(self) -> "HfApi":
        """A client of the Hub."""
        from huggingface_hub import HfApi

        from climb_hf._version import __version__

        return HfApi(library_name="climb-hf", library_version=__version__)

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Make the repository if need be, and remember its newest commit: ours must be the only ones after it."""
        from climb_hf.hub.push import hub_errors, open_repository

        with hub_errors(self.repo_id):
            _, self.repo_id = open_repository(
                self.repo_id, "dataset", private=self._private, token=None, revision=self.revision
            )
            self._head = self.api.repo_info(self.repo_id, repo_type="dataset", revision=self.revision).sha
        yield

    @contextlib.contextmanager
    def writer(self, path: str) -> Iterator[Upload]:
        """Build the shard in a temporary file and upload it; it becomes visible with the next commit."""
        with tempfile.TemporaryDirectory(prefix="climb-shard-") as folder:
            file = Path(folder) / Path(path).name
            with storage_errors(f"`{folder}`"), file.open("xb") as stream:
                upload = Upload(cast(BinaryIO, stream))
                yield upload
            upload.receipt = self.upload(path, file)

    def upload(self, path: str, file: Path) -> "CommitOperationAdd":
        """Hand a file to the large-file storage.

        Args:
            path (`str`): its path in the repository.
            file (`Path`): the file.

        Returns:
            `CommitOperationAdd`: to be recorded; needs the file no more.
        """
        from huggingface_hub import CommitOperationAdd

        from climb_hf.hub.push import hub_errors

        with hub_errors(self.repo_id):
            addition = CommitOperationAdd(path_in_repo=path, path_or_fileobj=str(file))
            self.api.preupload_lfs_files(
                self.repo_id, [addition], repo_type="dataset", revision=self.revision, num_threads=1
            )
        if isinstance(addition.path_or_fileobj, str):  # the Hub wants it in the commit itself
            addition.path_or_fileobj = file.read_bytes()
        return addition

    def close_to_strangers(self) -> None:
        """Gate the repository: whoever asks for its files accepts the conditions of the card first."""
        from climb_hf.hub.push import hub_errors

        with hub_errors(self.repo_id):
            self.api.update_repo_settings(self.repo_id, repo_type="dataset", gated="auto")

    def record(self, entry: "ShardEntry", receipt: Any) -> None:  # noqa: ANN401 - an addition
        """Let a shard and its entry wait for the next commit."""
        from climb_hf.prepare.manifest import part_path

        self._add(receipt)
        self.write(part_path(entry.path), f"{entry.line()}\n".encode())
        self._message = f"Add {entry.path}"
        is_due = time.monotonic() - self._since > _BATCH_SECONDS
        if len(self._waiting) >= _BATCH_FILES or is_due:
            self.flush()

    def write(self, path: str, content: bytes) -> None:
        """Let a small file wait for the next commit."""
        from huggingface_hub import CommitOperationAdd

        self._add(CommitOperationAdd(path_in_repo=path, path_or_fileobj=content))

    def delete(self, paths: list[str]) -> None:
        """Let files be removed by the next commit."""
        from huggingface_hub import CommitOperationDelete

        for path in paths:
            self._add(CommitOperationDelete(path_in_repo=path, is_folder=False))

    def _add(self, operation: "CommitOperationAdd | CommitOperationDelete") -> None:
        if not self._waiting:
            self._since = time.monotonic()
        self._waiting = [known for known in self._waiting if known.path_in_repo != operation.path_in_repo]
        self._waiting.append(operation)

    def flush(self) -> None:
        """Commit what waits.

        Raises:
            AccessError: the Hub refuses, or somebody else has committed meanwhile.
        """
        from huggingface_hub.errors import HfHubHTTPError

        from climb_hf.hub.push import hub_errors

        if not self._waiting:
            return
        with hub_errors(self.repo_id):
            try:
                commit = self.api.create_commit(
                    self.repo_id, self._waiting, commit_message=f"{self._message} (climb prepare)",
                    repo_type="dataset", revision=self.revision, parent_commit=self._head,
                )  # fmt: skip
            except HfHubHTTPError as error:
                if error.response is None or error.response.status_code != _CONFLICT:
                    raise
                raise AccessError(
                    f"{self.url}: somebody else has committed there meanwhile, perhaps another `climb prepare`. When "
                    "it has ended, run the same command again: it goes on after what is committed."
                ) from None
        self._head, self._waiting = commit.oid, []

    def read(self, path: str) -> bytes | None:
        """Return the content of a file, `None` where it does not exist."""
        from huggingface_hub.errors import EntryNotFoundError, RepositoryNotFoundError, RevisionNotFoundError

        from climb_hf.hub.push import hub_errors

        with hub_errors(self.repo_id):
            try:
                found = self.api.hf_hub_download(self.repo_id, path, repo_type="dataset", revision=self.revision)
            except (EntryNotFoundError, RepositoryNotFoundError, RevisionNotFoundError):
                return None
            return Path(found).read_bytes()

    def open(self, path: str) -> BinaryIO:
        """Download a file and open it for reading."""
        from climb_hf.hub.push import hub_errors

        with hub_errors(self.repo_id):
            found = self.api.hf_hub_download(self.repo_id, path, repo_type="dataset", revision=self.revision)
        return cast(BinaryIO, Path(found).open("rb"))

    def sizes(self, folder: str) -> dict[str, int]:
        """Return the files below a folder with their sizes."""
        from huggingface_hub import RepoFile
        from huggingface_hub.errors import EntryNotFoundError

        from climb_hf.hub.push import hub_errors

        with hub_errors(self.repo_id):
            try:
                found = list(
                    self.api.list_repo_tree(
                        self.repo_id, folder, recursive=True, repo_type="dataset", revision=self.revision
                    )
                )
            except EntryNotFoundError:
                return {}
        return {
            item.path: item.size for item in sorted(found, key=lambda item: item.path) if isinstance(item, RepoFile)
        }
