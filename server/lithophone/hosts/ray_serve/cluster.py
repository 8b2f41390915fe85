# pyright: basic, reportMissingImports=false
"""Ray itself: the connection to a cluster, and a model's deployment there under Ray Serve.

The only module beside `routing` that imports Ray, hence the pyright mode: Ray is an extra that need not be installed. Serve's
HTTP proxies are not started; the way in is Lithophone's own.
"""

from __future__ import annotations

import hashlib
import logging
import os
import sys
import threading
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from typing import Any, Final
from uuid import uuid4

import msgspec
import structlog

from lithophone.errors import (
    ConfigurationError,
    InternalError,
    ServiceError,
    UnavailableError,
)
from lithophone.hosts.description import find
from lithophone.hosts.ray_serve.aside import Aside
from lithophone.hosts.ray_serve.board import Amounts
from lithophone.hosts.ray_serve.deployment import (
    CallCancelledError,
    ReplicaLostError,
    Scale,
    Seen,
    Served,
    last_words,
)
from lithophone.hosts.ray_serve.scaling import QueuedAudio
from lithophone.worker.messages import Recognise

log = structlog.get_logger(__name__)

REPLICA: Final = "lithophone.replica:Replica"
BOARD: Final = "lithophone.hosts.ray_serve.board:Board"
BOARD_NAME: Final = "limits"
NAMESPACE: Final = "lithophone"
TELEMETRY_VARIABLE: Final = "RAY_USAGE_STATS_ENABLED"
INLINE_VARIABLE: Final = "RAY_max_direct_call_object_size"
INLINE_BYTES: Final = 4_000_000
"""A window travels in its call, which was no slower than by the object store (docs/ray.md)."""

LOCAL_OBJECT_STORE_BYTES: Final = 256 * 1024 * 1024  # of a cluster of one machine
MOST_ONGOING: Final = 10_000
"""Windows at one replica. No bound of ours: a window that waits there takes its turn by Lithophone's own rules."""

QUIET: Final = {"log_level": "WARNING", "enable_access_log": False}
DRAIN_SECONDS: Final = 120.0  # for what a replica is at, when it is to end
SURGE_PERCENT: Final = 100  # of the replicas may be there twice while a new revision comes
METRICS_SECONDS: Final = 1.0
LOOK_BACK_SECONDS: Final = 5.0
UPSCALE_SECONDS: Final = 10.0
DOWNSCALE_SECONDS: Final = 300.0
FAILURE_NAMES: Final = ("ModelFailedError", "RuntimeError")


def require_ray() -> None:
    """Check that Ray can be imported.

    Raises:
        ConfigurationError: it is not installed.
    """
    if find_spec("ray") is None:
        raise ConfigurationError("--hosts ray needs Ray: pip install 'lithophone[ray]'")


class Cluster:
    """The connection of this process to a cluster. Its methods block; any thread may call them.

    Args:
        address: Of a cluster (`auto`: the one this machine belongs to); empty, one of this machine alone is started.
    """

    def __init__(self, address: str = "") -> None:
        self.is_ours = not address
        self._address = address
        self._lock = threading.Lock()
        self._connected = False
        self._left = False

    @contextmanager
    def connected(self) -> Generator[None]:
        """Connected, and nobody else deploys from here meanwhile.

        Raises:
            ConfigurationError: there is no such cluster.
            UnavailableError: the server has left it.
        """
        with self._lock:
            if self._left:
                raise UnavailableError("The server is stopping.")
            if not self._connected:
                self._connect()
            yield

    def leave(self) -> None:
        """Disconnect, which ends a cluster that was started here."""
        with self._lock:
            self._left = True
            if self._connected:
                self._connected = False
                import ray  # noqa: PLC0415 - an extra, which takes a second to import

                ray.shutdown()

    def _connect(self) -> None:
        os.environ.setdefault(TELEMETRY_VARIABLE, "0")
        os.environ.setdefault(INLINE_VARIABLE, str(INLINE_BYTES))
        import ray  # noqa: PLC0415 - an extra, which takes a second to import
        from ray import serve  # noqa: PLC0415 - as above

        try:
            if self.is_ours:
                _start_local(ray)
            else:
                ray.init(address=self._address, logging_level=logging.ERROR)
        except (ConnectionError, ValueError) as error:
            raise ConfigurationError(f"--ray-address {self._address}: {error}") from None
        logging.getLogger("ray.serve").setLevel(logging.WARNING)
        serve.start(proxy_location="Disabled", logging_config=QUIET)
        self._connected = True


def _start_local(ray: Any) -> None:
    """A cluster of this machine, whose processes find the modules that this one finds."""
    ray.init(
        address="local",
        include_dashboard=False,
        object_store_memory=LOCAL_OBJECT_STORE_BYTES,
        logging_level=logging.ERROR,
        runtime_env={"env_vars": {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}},
    )


class RayCall:
    """See `Call`."""

    def __init__(self, response: Any) -> None:
        self._response = response

    async def answer(self) -> Any:
        """See `Call`."""
        from ray import exceptions  # noqa: PLC0415 - an extra
        from ray.serve import exceptions as of_serve  # noqa: PLC0415 - as above

        try:
            return await self._response
        except exceptions.RayTaskError as error:
            raise _raised_there(error) from None
        except (of_serve.RequestCancelledError, exceptions.TaskCancelledError):
            raise CallCancelledError from None
        except of_serve.DeploymentUnavailableError as error:
            raise UnavailableError(f"There is no replica to ask: {error}") from None
        except exceptions.RayActorError as error:
            raise ReplicaLostError(_words(error), str(error.actor_id)) from error
        except exceptions.RayError as error:  # what it was given or has answered got lost with its machine
            raise ReplicaLostError(_words(error), uuid4().hex) from error

    def cancel(self) -> None:
        """See `Call`. A call that has failed says so where it is waited for."""
        with suppress(Exception):
            self._response.cancel()


def _words(error: Exception) -> str:
    """An error of Ray in one line."""
    return f"{type(error).__name__}: {str(error).splitlines()[0]}"


def _raised_there(error: Any) -> Exception:
    """What a replica's method raised; what is none of our errors is in the replica's log, and here."""
    if isinstance(error.cause, ServiceError):
        return error.cause
    log.error("replica_failed", reason=str(error))
    return InternalError("A replica failed on this audio; the server's log says why.")


class ServeDeployment:
    """See `Deployment`.

    Args:
        cluster: Where.
        served: What.
        scale: How many.
    """

    def __init__(self, cluster: Cluster, served: Served, scale: Scale) -> None:
        self.scale = scale
        self._cluster = cluster
        self._served = served
        self._name = f"lithophone-{served.model_id}"
        self._handle: Any = None

    def connect(self) -> None:
        """See `Deployment`."""
        with self._cluster.connected():
            pass

    def deploy(self) -> None:
        """See `Deployment`. Another description or scale replaces what there is, without a gap; the same changes nothing."""
        from ray import serve  # noqa: PLC0415 - an extra

        with self._cluster.connected():
            if self._look().failure is not None:
                serve.delete(self._name)  # else Serve takes it for done: it has failed at this very revision
            (handle,) = serve.run_many(
                [serve.RunTarget(self._application(), name=self._name, route_prefix=None)],
                wait_for_applications_running=False,
            )
            self._handle = handle

    def look(self) -> Seen:
        """See `Deployment`."""
        with self._cluster.connected():
            return self._look()

    def remove(self) -> None:
        """See `Deployment`."""
        from ray import serve  # noqa: PLC0415 - an extra

        with self._cluster.connected():
            serve.delete(self._name)

    def leave(self) -> None:
        """See `Deployment`. The replicas of a cluster that others have started stay for its other servers."""
        self._cluster.leave()

    def describe(self) -> RayCall:
        """See `Deployment`."""
        return RayCall(self._handle.describe.remote())

    def recognise(self, message: Recognise) -> RayCall:
        """See `Deployment`. The windows of a live session go where the last one went, while that replica is there."""
        live = message.request.live
        handle = self._handle if live is None else self._handle.options(session_id=live.key)
        return RayCall(handle.recognise.remote(message))

    def _look(self) -> Seen:
        from ray import serve  # noqa: PLC0415 - an extra
        from ray.serve._private.common import ReplicaState  # noqa: PLC0415 - as above
        from ray.serve.schema import ApplicationStatus  # noqa: PLC0415 - as above

        application = serve.status().applications.get(self._name)
        if application is None or application.status is ApplicationStatus.DELETING:
            return Seen(exists=False)
        deployments = application.deployments.values()
        replicas = sum(one.replica_states.get(ReplicaState.RUNNING, 0) for one in deployments)
        message = "; ".join(one.message for one in deployments if one.message) or application.message
        failed = application.status is ApplicationStatus.DEPLOY_FAILED and not replicas
        words = last_words(message, FAILURE_NAMES)
        return Seen(exists=True, replicas=replicas, failure=words if failed else None, trouble=words or None)

    def _application(self) -> Any:
        from ray import serve  # noqa: PLC0415 - an extra

        deployment = serve.deployment(
            find(REPLICA),
            name="model",
            user_config={},
            logging_config=QUIET,
            max_ongoing_requests=MOST_ONGOING,
            graceful_shutdown_timeout_s=DRAIN_SECONDS,
            max_constructor_retry_count=1,
            max_surge_percent=SURGE_PERCENT,
            ray_actor_options={"num_cpus": self.scale.cpus, "num_gpus": self.scale.gpus},
            request_router_config={
                "request_router_class": "lithophone.hosts.ray_serve.routing:SessionRouter"
            },
            **self._count(),
        )
        deployment._version = self._revision()  # noqa: SLF001 - else each server that starts would replace all replicas
        return deployment.bind(self._served)

    def _count(self) -> dict[str, Any]:
        """How many replicas: a number, or what the number follows."""
        scale = self.scale
        if scale.least_replicas == scale.max_replicas:
            return {"num_replicas": scale.max_replicas}
        to_zero = {"downscale_to_zero_delay_s": scale.idle_seconds} if scale.idle_seconds else {}
        return {
            "autoscaling_config": {
                "min_replicas": scale.least_replicas,
                "max_replicas": scale.max_replicas,
                "initial_replicas": scale.min_replicas,
                "metrics_interval_s": METRICS_SECONDS,
                "look_back_period_s": LOOK_BACK_SECONDS,
                "upscale_delay_s": UPSCALE_SECONDS,
                "downscale_delay_s": DOWNSCALE_SECONDS,
                "policy": {
                    "policy_function": QueuedAudio,
                    "policy_kwargs": {"target_seconds": scale.queued_seconds},
                },
                **to_zero,
            }
        }

    def _revision(self) -> str:
        """The same for the same model, served alike."""
        told = msgspec.json.encode((msgspec.to_builtins(self._served, enc_hook=str), self.scale))
        return hashlib.sha256(told).hexdigest()[:16]


class RayBoard:
    """What this cluster's servers tell each other about their clients; see `Board`.

    The actor goes with the server that has started it, and the next one to ask starts another.

    Args:
        cluster: Where.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._server = uuid4().hex
        self._aside = Aside()
        self._actor: Any = None

    async def tell(self, held: Mapping[str, Amounts]) -> None:
        """Put up what clients hold at this server. Any error means that the board cannot be reached just now."""
        await self._ask("tell", held)

    async def others(self, known: Mapping[str, Amounts]) -> Mapping[str, Amounts]:
        """What they hold at the other servers, when it is not what is known already, or after a moment. Errors as above."""
        return await self._ask("others", known)

    async def _ask(self, method: str, amounts: Mapping[str, Amounts]) -> Any:
        if self._actor is None:
            self._actor = await self._aside.do(self._open)
        actor = self._actor
        try:
            return await getattr(actor, method).remote(self._server, dict(amounts))
        except Exception:
            if self._actor is actor:
                self._actor = None
            raise

    def _open(self) -> Any:
        import ray  # noqa: PLC0415 - an extra, which takes a second to import

        with self._cluster.connected():
            return (
                ray.remote(find(BOARD))
                .options(name=BOARD_NAME, namespace=NAMESPACE, get_if_exists=True, num_cpus=0)
                .remote()
            )
