"""Hosted models: what is sent, what comes back, retries, redirects, keys, and the addresses that are refused."""

import base64
import io
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import PIL.Image
import pytest
from typer.testing import CliRunner

from climb_hf.cli.app import app
from climb_hf.errors import AccessError, OptionError, SchemaError
from climb_hf.protocols.qa_run import AnswerSettings, run_questions
from climb_hf.qa.hosted import Hosted, check_endpoint
from climb_hf.qa.journal import read_run

KEY = "sk-very-secret-0123456789"


class Endpoint(ThreadingHTTPServer):
    """Answers every question with its first option, after the failures it is told to make."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.seen, self.failures, self.reply, self.location = [], [], None, None
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/v1"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.seen.append((self.path, dict(self.headers), json.loads(body)))
        status = self.server.failures.pop(0) if self.server.failures else 200
        text = json.loads(body)["messages"][0]["content"][-1]["text"]
        option = next(line for line in text.splitlines() if line.startswith("A. "))[3:]
        message = {"role": "assistant", "content": f" The answer is {option}. "}
        reply = self.server.reply or {"model": "served-1", "choices": [{"message": message, "finish_reason": "stop"}]}
        data = json.dumps(reply if status == 200 else {"error": f"no {KEY} for you"}).encode()
        self.send_response(status)
        if status == 307:
            self.send_header("Location", self.server.location)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args):
        pass


@pytest.fixture
def endpoint(monkeypatch):
    monkeypatch.setenv("CLIMB_HOSTED_API_KEY", KEY)
    server = Endpoint()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def row():
    picture = PIL.Image.new("RGB", (5, 4), (1, 2, 3))
    question = {"id": "1", "source": "s", "question": "What?\nA. Cyst\nB. Mass", "images": [picture]}
    return {**question, "choices": ["Cyst", "Mass"], "answers": ["Cyst"]}


def test_picture_and_question_are_sent_and_the_key_goes_in_the_header(endpoint, row):
    found = Hosted(endpoint.url, "m", max_new_tokens=7).answer([row])[0]
    assert found == {
        "prediction": "The answer is Cyst.", "finished": True, "finish_reason": "stop", "served_model": "served-1",
    }  # fmt: skip
    path, headers, body = endpoint.seen[0]
    assert path == "/v1/chat/completions"
    assert headers["authorization"] == f"Bearer {KEY}"
    assert (body["model"], body["max_tokens"], body["temperature"]) == ("m", 7, 0.0)
    picture, text = body["messages"][0]["content"]
    kind, _, data = picture["image_url"]["url"].partition(",")
    assert kind == "data:image/png;base64"
    assert PIL.Image.open(io.BytesIO(base64.b64decode(data))).getpixel((0, 0)) == (1, 2, 3)
    assert text == {"type": "text", "text": row["question"]}


def test_a_busy_endpoint_is_asked_again(endpoint, row):
    endpoint.failures = [503, 429]
    assert Hosted(endpoint.url, "m", backoff=0.01).answer([row])[0]["prediction"] == "The answer is Cyst."
    assert len(endpoint.seen) == 3


def test_a_refusal_names_the_record_and_never_the_key(endpoint, row):
    endpoint.failures = [401]
    with pytest.raises(AccessError, match=r"s: record `1`.*credentials.*CLIMB_HOSTED_API_KEY") as caught:
        Hosted(endpoint.url, "m").answer([row])
    assert KEY not in str(caught.value)
    assert len(endpoint.seen) == 1


def test_pictures_follow_no_redirect(endpoint, row):
    other = Endpoint()
    endpoint.failures, endpoint.location = [307], other.url + "/chat/completions"
    with pytest.raises(AccessError, match="leads elsewhere"):
        Hosted(endpoint.url, "m").answer([row])
    assert other.seen == []
    other.shutdown()
    other.server_close()


@pytest.mark.parametrize("reply", [{"choices": []}, {"error": {"message": "x"}}, {"choices": [{"text": "a"}]}, [1]])
def test_another_format_is_named(endpoint, row, reply):
    endpoint.reply = reply
    with pytest.raises(SchemaError, match=r"record `1`: expected `choices\[0\]"):
        Hosted(endpoint.url, "m").answer([row])


def test_no_text_is_an_empty_answer(endpoint, row):
    message = {"content": None, "refusal": "no"}
    endpoint.reply = {"choices": [{"message": message, "finish_reason": "content_filter"}]}
    found = Hosted(endpoint.url, "m").answer([row])[0]
    assert (found["prediction"], found["finished"], found["finish_reason"]) == ("", False, "content_filter")


@pytest.mark.parametrize(
    "url",
    [
        "http://api.example.org/v1",
        "https://me:pw-secret@a.org/v1",
        "ftp://a.org",
        "https://a.org/v1?key=1",
        "nonsense",
    ],
)
def test_unsafe_addresses_are_refused(url):
    with pytest.raises(OptionError) as caught:
        check_endpoint(url)
    assert "pw-secret" not in str(caught.value)


def test_a_hosted_run_is_scored_and_keeps_no_key(endpoint, miniatures, tmp_path):
    sources = {"brain_tumor": miniatures("brain_tumor", n=16)[0]}
    results = run_questions(
        "m", sources, tmp_path, hosted=endpoint.url, settings=AnswerSettings(max_new_tokens=9), n_bootstrap=0
    )
    rows, facts = read_run(tmp_path)
    assert len(rows) == len(endpoint.seen) == 8
    assert facts["hosted"] == endpoint.url
    right = sum(row["answers"] == [row["choices"][0]] for row in rows) / 8
    own = [row for row in results if row.level == "source" and not row.settings.get("without_duplicates")]
    found = {row.metric: row.value for row in own}
    assert (found["accuracy"], found["invalid"]) == (right, 0.0)
    assert all(KEY not in path.read_text() for path in tmp_path.glob("*.json*"))
    run_questions(
        "m", sources, tmp_path, hosted=endpoint.url, settings=AnswerSettings(max_new_tokens=9), n_bootstrap=0
    )
    assert len(endpoint.seen) == 8  # nothing was asked twice


def test_signed_miniatures_may_be_sent_and_signed_data_not(endpoint, tmp_path):
    arguments = ["qa", "run", "m", "--to", str(tmp_path / "a"), "--hosted", endpoint.url, "--n-bootstrap", "0"]
    refused = CliRunner().invoke(app, [*arguments, f"vindr_cxr={tmp_path}"])
    assert refused.exit_code != 0
    assert endpoint.seen == []
    shown = CliRunner().invoke(
        app, [*arguments, "mimic_cxr", "--miniature", "--miniature-n", "16", "--image-size", "32", "--limit", "2"]
    )
    assert shown.exit_code == 0, shown.output
    assert len(endpoint.seen) == 2
    assert KEY not in shown.output
