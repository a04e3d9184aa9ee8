"""Push a checkpoint to the Hub: everything that belongs to it, in one commit.

`huggingface_hub.HfApi.create_commit` is used rather than `upload_folder`, which since release 2 may spread a folder
over several commits: a reader never sees weights of one version beside the card of another.
"""

import contextlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from climb_hf._version import __version__
from climb_hf.errors import AccessError, OptionError
from climb_hf.hub.checkpoint import OWN_FILES, refuse_secrets, save_checkpoint
from climb_hf.hub.facts import TrainingFacts
from climb_hf.results import ResultRow

if TYPE_CHECKING:
    from huggingface_hub import CommitInfo, HfApi
    from huggingface_hub.errors import HfHubHTTPError
    from transformers import BaseImageProcessor, FeatureExtractionMixin, PreTrainedModel, ProcessorMixin

__all__ = ["hub_errors", "open_repository", "push_folder", "push_to_hub"]


def push_to_hub(
    repo_id: str,
    model: "PreTrainedModel",
    processor: "BaseImageProcessor | FeatureExtractionMixin | ProcessorMixin",
    *,
    results: Sequence[ResultRow] = (),
    recipe: Any = None,  # noqa: ANN401 - nested plain values, or a dataclass
    training: TrainingFacts | dict[str, Any] | None = None,
    private: bool = False,
    token: str | None = None,
    revision: str | None = None,
    commit_message: str | None = None,
) -> "CommitInfo":
    """Publish a model with its processor, vocabulary, card, results, recipe and terms, in one commit.

    The endpoint is that of `huggingface_hub` (`HF_ENDPOINT`). What goes up is what `save_checkpoint` writes. Files
    that an earlier push left and this version does not have (further shards, old results) are removed in that commit.

    Args:
        repo_id (`str`): `"user/name"`; the repository is made if it does not exist.
        model (`PreTrainedModel`): the model.
        processor: its processor.
        results (`Sequence[ResultRow]`, *optional*): numbers of an evaluation, for the card.
        recipe (`dict` or dataclass, *optional*): the recipe.
        training (`TrainingFacts` or `dict`, *optional*): facts of the training.
        private (`bool`, *optional*, defaults to `False`): make the repository private. A repository that exists and is
            public is refused then.
        token (`str`, *optional*): access token. Defaults to the one of `hf auth login` or `HF_TOKEN`.
        revision (`str`, *optional*): branch to push to, made from `main` if it does not exist.
        commit_message (`str`, *optional*): defaults to `"Upload <class of the model> with climb-hf"`.

    Returns:
        `CommitInfo`: of the commit.

    Raises:
        AccessError: the Hub cannot be reached, or refuses the token or the repository.
        OptionError: `repo_id` is none, `private` contradicts the repository, or a file would hold a secret.
    """
    with tempfile.TemporaryDirectory(prefix="climb-push-") as folder:
        save_checkpoint(folder, model, processor, results=results, recipe=recipe, training=training, name=repo_id)
        message = commit_message or f"Upload {type(model).__name__} with climb-hf"
        return push_folder(folder, repo_id, message, private=private, token=token, revision=revision)


def push_folder(
    folder: str | os.PathLike[str],
    repo_id: str,
    commit_message: str,
    *,
    private: bool = False,
    token: str | None = None,
    revision: str | None = None,
) -> "CommitInfo":
    """Upload a folder that `save_checkpoint` wrote, in one commit.

    Args:
        folder (`str` or `Path`): the folder; every file in it is uploaded, except in `.git` and `.cache`.
        repo_id (`str`): `"user/name"`.
        commit_message (`str`): message of the commit.
        private (`bool`, *optional*, defaults to `False`): see `push_to_hub`.
        token (`str`, *optional*): see `push_to_hub`.
        revision (`str`, *optional*): see `push_to_hub`.

    Returns:
        `CommitInfo`: of the commit.

    Raises:
        AccessError: the Hub cannot be reached, or refuses the token or the repository.
        OptionError: see `push_to_hub`; or there is no checkpoint in the folder.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationCopy, CommitOperationDelete

    folder = Path(folder)
    files = {
        path.relative_to(folder).as_posix(): path
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.relative_to(folder).parts[0] not in (".git", ".cache")
    }
    kind = "adapter_config.json" if "adapter_config.json" in files else "config.json"
    if missing := [name for name in ("README.md", kind) if name not in files]:
        raise OptionError(
            f"`{folder.name}` is no checkpoint: {missing} is not in it. Write it with `save_checkpoint`."
        )
    refuse_secrets(folder, token)
    with hub_errors(repo_id, token):
        api, repo_id = open_repository(repo_id, "model", private=private, token=token, revision=revision)
        present = api.list_repo_files(repo_id, revision=revision)
        stale = [name for name in present if OWN_FILES.fullmatch(name) and name not in files]
        operations: list[CommitOperationAdd | CommitOperationCopy | CommitOperationDelete] = [
            *(CommitOperationAdd(path_in_repo=name, path_or_fileobj=path) for name, path in files.items()),
            *(CommitOperationDelete(path_in_repo=name, is_folder=False) for name in stale),
        ]
        return api.create_commit(repo_id, operations, commit_message=commit_message, revision=revision)


def open_repository(
    repo_id: str, repo_type: str, *, private: bool, token: str | None, revision: str | None
) -> tuple["HfApi", str]:
    """Return a client, and the full name of a repository that exists, is as private as asked, and has the branch.

    Args:
        repo_id (`str`): `"user/name"`, or `"name"` for the user of the token.
        repo_type (`str`): `"model"` or `"dataset"`.
        private (`bool`): whether it has to be private.
        token (`str`, *optional*): access token.
        revision (`str`, *optional*): branch that is made if absent.

    Returns:
        `tuple[HfApi, str]`.

    Raises:
        OptionError: the repository exists and is public, but `private` was asked for.
    """
    from huggingface_hub import HfApi

    api = HfApi(token=token, library_name="climb-hf", library_version=__version__)
    repo_id = api.create_repo(repo_id, repo_type=repo_type, private=private or None, exist_ok=True).repo_id
    if private and not api.repo_info(repo_id, repo_type=repo_type).private:
        raise OptionError(
            f"`private=True`, but the repository `{repo_id}` exists and is public. Make it private in its settings, "
            "or choose another name; nothing was uploaded."
        )
    if revision is not None and revision != "main" and not revision.startswith("refs/pr/"):
        api.create_branch(repo_id, branch=revision, repo_type=repo_type, exist_ok=True)
    return api, repo_id


@contextlib.contextmanager
def hub_errors(repo_id: str, token: str | None = None) -> Iterator[None]:
    """Turn the errors of the Hub's client into ours, with what to do and without any token.

    Args:
        repo_id (`str`): the repository, for the message.
        token (`str`, *optional*): a token that must not appear in a message.
    """
    from huggingface_hub import constants
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalTokenNotFoundError, OfflineModeIsEnabled

    # The base class comes from the client's HTTP library, whichever it is in this release.
    transport: type[Exception] = next(base for base in HfHubHTTPError.__mro__ if base.__name__ == "HTTPError")
    where = f"`{repo_id}` on {constants.ENDPOINT}"
    try:
        yield
    except HFValidationError as error:
        raise OptionError(f"`repo_id` must be `user/name`, found {repo_id!r}: {error}") from error
    except OfflineModeIsEnabled as error:
        raise AccessError(f"{where}: the Hub is switched off. Unset `HF_HUB_OFFLINE` to publish.") from error
    except LocalTokenNotFoundError as error:
        raise AccessError(f"{where}: no access token. Run `hf auth login`, or set `HF_TOKEN`.") from error
    except HfHubHTTPError as error:
        raise _refusal(where, error, token) from None
    except RuntimeError as error:  # a large file, uploaded by a thread
        if isinstance(error.__cause__, HfHubHTTPError):
            raise _refusal(where, error.__cause__, token) from None
        raise
    except (transport, ConnectionError) as error:
        raise AccessError(
            f"{where}: no connection ({type(error).__name__}). Check the network and `HF_ENDPOINT`."
        ) from error


def _refusal(where: str, error: "HfHubHTTPError", token: str | None) -> AccessError:
    status = error.response.status_code if error.response is not None else None
    return AccessError(f"{where}: {_advice(status)} The Hub said: {_said(error, token)}")


def _advice(status: int | None) -> str:
    if status == 401:
        return (
            "the access token was not accepted (401). Log in again with `hf auth login`, or set `HF_TOKEN` to a token "
            "that is valid for this endpoint."
        )
    if status == 403:
        return (
            "the access token may not write there (403). Use a token with write access to that namespace, or push to "
            "your own."
        )
    if status == 404:
        return "there is no such repository, or the token may not see it (404). Check the name and the token."
    return f"the request failed ({status}). Push again; if it stays so, see https://status.huggingface.co."


def _said(error: Exception, token: str | None) -> str:
    from huggingface_hub import get_token

    text = " ".join(str(getattr(error, "server_message", None) or error).split())
    for secret in (token, get_token()):
        if isinstance(secret, str) and secret:
            text = text.replace(secret, "***")
    return text
