"""The Hugging Face Hub: `huggingface_hub` lists a repository and knows the token, our engine moves the files."""

import re
from dataclasses import dataclass
from typing import ClassVar

from climb_hf.access.backend import Backend, Session
from climb_hf.access.credentials import redact, register_secret
from climb_hf.access.files import RemoteFile, matches
from climb_hf.errors import AccessError

__all__ = ["Hub"]


@dataclass(frozen=True)
class Hub(Backend):
    r"""A data set repository of the Hub, at one commit.

    Args:
        repo_id (`str`): such as `"user/name"`.
        only (`tuple[str, ...]`, *optional*): patterns, where only some files are wanted.
        revision (`str`, *optional*): commit, tag or branch; the default branch otherwise. It is resolved to a commit
            once per download, so all files are of one version.
        rename (`tuple[str, str]`, *optional*): pattern and replacement that turn a path of the repository into one of
            the target, such as `(r"images/(.*)\\.nii\\.gz", r"dataset/\\1/imaging.nii.gz")`.
    """

    site: ClassVar[str] = "the Hugging Face Hub"

    repo_id: str
    only: tuple[str, ...] = ()
    revision: str | None = None
    rename: tuple[str, str] = ("", "")

    def describe(self) -> str:
        """Return what is taken from where."""
        return f"Hub data set {self.repo_id}{': ' + ', '.join(self.only) if self.only else ''}"

    def files(self, session: Session) -> list[RemoteFile]:
        """List the files of one commit, with SHA-256 (large files) or git's own checksum."""
        from huggingface_hub import HfApi, get_token, hf_hub_url
        from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled
        from huggingface_hub.hf_api import RepoFile

        token, api = get_token(), HfApi()
        register_secret(token)
        try:
            commit = api.dataset_info(self.repo_id, revision=self.revision, token=token).sha
            tree = list(
                api.list_repo_tree(self.repo_id, repo_type="dataset", revision=commit, recursive=True, token=token)
            )
        except (HfHubHTTPError, OfflineModeIsEnabled, OSError, ValueError) as error:
            first = next(iter(redact(str(error)).strip().splitlines()), type(error).__name__)
            raise AccessError(
                f"{session.source}: {self.describe()} cannot be listed: {first} "
                f"A gated repository asks you to accept its terms on its page and to sign in with `hf auth login`."
            ) from None
        headers = {"authorization": f"Bearer {token}"} if token else {}
        found = []
        for entry in tree:
            if not isinstance(entry, RepoFile) or not matches(entry.path, self.only):
                continue
            checksum = f"sha256:{entry.lfs.sha256}" if entry.lfs else f"git:{entry.blob_id}"
            url = hf_hub_url(self.repo_id, entry.path, repo_type="dataset", revision=commit)
            path = re.sub(*self.rename, entry.path) if self.rename[0] else entry.path
            found.append(RemoteFile(path, url, entry.size, checksum, headers=headers))
        if not found:
            raise AccessError(f"{session.source}: {self.describe()} holds no file that is wanted. See its page.")
        return found
