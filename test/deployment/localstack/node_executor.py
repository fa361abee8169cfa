"""Runs each Lambda sandbox of LocalStack as a Node.js process on this host, without Docker.

LocalStack finds the executor by its name: pyproject.toml registers it as `node`, and LAMBDA_RUNTIME_EXECUTOR=node chooses it. A
NodeExecutor is one sandbox. It serves the Lambda Runtime API on a loopback port, and starts a Node.js process on
test/kit/lambda/bootstrap.js, which runs aws-lambda-ric, the real runtime client, against that port:

    LocalStack                    NodeExecutor (Runtime API)                 Node.js process
    invoke(payload)  --_jobs-->   GET  /2018-06-01/runtime/invocation/next   waits for an event
                    <-_results--  POST .../invocation/{id}/response|error    sends the result
                                  POST /2018-06-01/runtime/init/error        could not load the function

Environment variables: NODE_EXECUTOR_NODE (path of the node binary), NODE_EXECUTOR_BOOTSTRAP (path of bootstrap.js).
"""
import hashlib
import json
import os
import queue
import subprocess
import tempfile
import threading
import time
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from localstack import config
from localstack.services.lambda_.invocation.lambda_models import InvocationResult
from localstack.services.lambda_.invocation.plugins import RuntimeExecutorPlugin
from localstack.services.lambda_.invocation.runtime_executor import RuntimeExecutor

NODE = os.environ["NODE_EXECUTOR_NODE"]
BOOTSTRAP = os.environ["NODE_EXECUTOR_BOOTSTRAP"]
RUNTIME_API = "/2018-06-01/runtime"


class NodeExecutorPlugin(RuntimeExecutorPlugin):
    name = "node"

    def load(self, *args, **kwargs):
        uuid.uuid5 = uuid5
        return NodeExecutor


_uuid5 = uuid.uuid5


def uuid5(namespace, name):
    """Takes bytes as well, as it does from Python 3.12 on: LocalStack's KMS gives it some."""
    if isinstance(name, bytes):
        return uuid.UUID(bytes=hashlib.sha1(namespace.bytes + name).digest()[:16], version=5)
    return _uuid5(namespace, name)


class NodeExecutor(RuntimeExecutor):
    """One sandbox. LocalStack calls start once, invoke once per event (never two concurrently), and stop at the end."""

    def __init__(self, id, function_version):
        super().__init__(id, function_version)
        self._jobs = queue.Queue()  # payloads for the process; None ends a waiting request
        self._results = queue.Queue()  # (body, whether it is an error)
        self._ready = threading.Event()  # the process has asked for its first event, or has failed to start
        self._init_error = None
        self._process = None
        self._server = None
        self._log = tempfile.NamedTemporaryFile(
            prefix=f"lambda-{function_version.id.function_name}-", suffix=".log", delete=False
        )
        self._log_read_to = 0

    # LocalStack calls these.

    def start(self, env_vars):
        """Starts the process, and returns once it is ready for its first event."""
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._runtime_api())
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

        code = self.function_version.config.code
        code.prepare_for_execution()
        folder = str(code.get_unzipped_code_location())
        env = {name: str(value) for name, value in env_vars.items()}
        env |= {
            "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{self._server.server_address[1]}",
            "AWS_EXECUTION_ENV": "AWS_Lambda_nodejs24.x",
            "LAMBDA_TASK_ROOT": folder,
            # A sandbox has no home.
            "PATH": "/usr/bin:/bin",
            "HOME": "/nowhere",
            "LANG": "en_US.UTF-8",
        }
        self._process = subprocess.Popen([NODE, BOOTSTRAP], cwd=folder, env=env, stdout=self._log, stderr=self._log)
        threading.Thread(target=self._watch, daemon=True).start()

        self._ready.wait()
        if self._init_error:
            raise RuntimeError(self._init_error.decode())

    def invoke(self, payload):
        """Hands one event to the process and waits for its result, at most as long as the function's timeout."""
        while not self._results.empty():
            # A late result of an earlier invocation.
            self._results.get_nowait()
        self._jobs.put(payload)
        timeout = self.function_version.config.timeout
        try:
            body, failed = self._results.get(timeout=timeout)
        except queue.Empty:
            self._process.kill()
            body, failed = error("Sandbox.Timedout", f"Task timed out after {timeout}.00 seconds"), True
        return InvocationResult(payload["invoke-id"], body, is_error=failed, logs=self.get_logs())

    def stop(self):
        if self._process:
            self._process.kill()
        self._jobs.put(None)
        if self._server:
            threading.Thread(target=self._server.shutdown, daemon=True).start()
        self._log.close()

    def get_logs(self):
        """The lines that the process has written since the last call."""
        with open(self._log.name) as file:
            file.seek(self._log_read_to)
            text = file.read()
            self._log_read_to = file.tell()
        return text

    def get_address(self):
        return "127.0.0.1"

    def get_endpoint_from_executor(self):
        return "127.0.0.1"

    def get_runtime_endpoint(self):
        return f"http://127.0.0.1:{config.GATEWAY_LISTEN[0].port}/_localstack_lambda/{self.id}"

    @classmethod
    def prepare_version(cls, function_version):
        function_version.config.code.prepare_for_execution()

    @classmethod
    def cleanup_version(cls, function_version):
        if function_version.config.code:
            function_version.config.code.destroy_cached()

    # The parts.

    def _watch(self):
        """A process that ends is a result: of the start, or of the invocation that waits."""
        exit_code = self._process.wait()
        body = error("Runtime.ExitError", f"Runtime exited: {exit_code}")
        self._init_error = self._init_error or body
        self._ready.set()
        self._results.put((body, True))

    def _runtime_api(self):
        """The request handler of the Runtime API of this sandbox."""
        executor = self

        class RuntimeApi(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                """/invocation/next: answered when an event comes."""
                executor._ready.set()
                job = executor._jobs.get()
                if job is None:
                    return
                timeout = executor.function_version.config.timeout
                self._answer(200, job["payload"].encode(), {
                    "lambda-runtime-aws-request-id": job["invoke-id"],
                    "lambda-runtime-deadline-ms": str(int(time.time() * 1000) + timeout * 1000),
                    "lambda-runtime-invoked-function-arn": job["invoked-function-arn"],
                    "lambda-runtime-trace-id": job["trace-id"],
                })

            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                if self.path == f"{RUNTIME_API}/init/error":
                    executor._init_error = body
                    executor._ready.set()
                elif self.path.endswith("/response"):
                    executor._results.put((body, False))
                elif self.path.endswith("/error"):
                    executor._results.put((body, True))
                self._answer(202, b'{"status":"OK"}')

            def _answer(self, status, body, headers={}):
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(body)))
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args):
                """Writes nothing: stderr is LocalStack's own log."""

        return RuntimeApi


def error(kind, message):
    return json.dumps({"errorType": kind, "errorMessage": message}).encode()
