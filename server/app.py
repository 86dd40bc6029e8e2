"""The composition root: every part is made here, once, and handed what it needs.

`Application` joins them, `start` opens the port, `stop` closes in reverse order.
"""

import asyncio
import gc
import secrets
from collections.abc import Sequence
from contextlib import AsyncExitStack
from datetime import timedelta
from functools import partial
from random import random
from time import monotonic
from uuid import uuid4

from google.protobuf.descriptor import MethodDescriptor
from grpc_health.v1 import health_pb2
from structlog.typing import FilteringBoundLogger

from server.agent.engine import ChatEngine
from server.agent.model_watch import ModelWatch
from server.agent.repository import SqlSessions
from server.agent.servicer import AgentServicer, ChatParts
from server.agent.sessions import Sessions
from server.agent.tools import catalogue_tools
from server.audit.kept import kept_of
from server.auth.users import Users
from server.auth_parts import AuthParts
from server.catalogue_parts import CatalogueParts
from server.composition import (
    database_options,
    drain_times,
    language_model,
    places,
    rates,
    server_options,
    telemetry_options,
    tls_files,
)
from server.core.clock import Clock
from server.core.errors import DomainError
from server.core.importing import imported
from server.core.principal import Principal
from server.database.engine import Database
from server.database.watch import watch_database
from server.generated.interview.agent.v1 import agent_service_pb2
from server.generated.interview.auth.v1 import auth_service_pb2, user_service_pb2
from server.generated.interview.catalogue.v1 import catalogue_service_pb2
from server.rpc.access_log import AccessLog
from server.rpc.admission import Admission, AdmissionCheck
from server.rpc.audit import AuditTrail
from server.rpc.auth import Authentication, Authorization
from server.rpc.boundary import Boundary
from server.rpc.chain import Chain, request_ids
from server.rpc.drain import DrainGate
from server.rpc.health import Health
from server.rpc.lifecycle import GrpcServer
from server.rpc.methods import Method, methods_of
from server.rpc.policy import MethodPolicy, infrastructure, policy_of
from server.rpc.rate import RateLimits
from server.rpc.reflection import reflection_methods
from server.rpc.stream_watch import StreamWatch
from server.rpc.tls import ServerTls
from server.settings import Settings
from server.telemetry.observation import Observation

AUTH = auth_service_pb2.DESCRIPTOR.services_by_name["AuthService"]
USERS = user_service_pb2.DESCRIPTOR.services_by_name["UserService"]
CATALOGUE = catalogue_service_pb2.DESCRIPTOR.services_by_name["CatalogueService"]
AGENT = agent_service_pb2.DESCRIPTOR.services_by_name["AgentService"]
SERVICES = (AUTH, USERS, CATALOGUE, AGENT)
HEALTH = health_pb2.DESCRIPTOR.services_by_name["Health"]
CHAT_POLICY = policy_of(AGENT.methods_by_name["Chat"])


class Application:
    """One server process. Made inside a running event loop."""

    def __init__(
        self, settings: Settings, secret: bytes, clock: Clock, log: FilteringBoundLogger
    ) -> None:
        self.settings = settings
        self._clock = clock
        self._log = log
        self._closing = AsyncExitStack()
        self._engine: ChatEngine | None = None
        self._database_up, self._model_up = False, True
        self._background: list[asyncio.Task[None]] = []
        self._observation = Observation(telemetry_options(settings), log)
        self._closing.push_async_callback(self._observation.close)
        self.database = Database(
            settings.effective_database_url,
            database_options(settings),
            telemetry=self._observation.telemetry,
        )
        self._closing.push_async_callback(self.database.close)
        self._auth = AuthParts(settings, secret, self.database, clock, log)
        self._closing.push_async_callback(self._auth.close)
        self._gate = DrainGate()
        self._catalogue = CatalogueParts(
            settings,
            secret,
            self.database,
            self._auth.audit_rows,
            clock,
            log,
            draining=self._gate.draining,
        )
        self._closing.push_async_callback(self._catalogue.close)
        self._build_limits()
        self.health = Health([service.full_name for service in SERVICES])
        self._boundary = Boundary(
            self._methods(),
            Chain(
                AccessLog(log.bind(logger="access")),
                self._observation.interceptors,
                self._gate,
                Authentication(self._auth.authenticate, self._auth.is_api_key),
                Authorization(clock),
                AdmissionCheck(self.admission),
                self._rate_limits,
            ).ordered(),
            admission=self.admission,
            streams=StreamWatch(self._auth.revocations, clock=clock),
            audit=AuditTrail(self._auth.audit_rows.store, kept_of, log.bind(logger="audit")),
            log=log,
            request_id=request_ids(secrets.token_bytes),
            max_answer_bytes=settings.max_send_message_bytes,
        )
        self._server = GrpcServer(
            self._boundary,
            self.health,
            self._gate,
            drain_times(settings),
            server_options(settings, share_port=settings.workers > 1),
        )

    async def start(self) -> int:
        """Open the port and return it. Sign-in and catalogue answer at once, agents soon."""
        await self._auth.start()
        await self._observation.start(self.database, self.health, self.admission)
        host, tls = self.settings.host, await self._load_tls()
        credentials = None if tls is None else tls.credentials()
        port = await self._server.start(host, self.settings.port, credentials)
        self._note_database(up=True)
        self._log.info(
            "listening",
            host=host,
            port=port,
            transport=self.settings.transport,
            **({} if tls is None else tls.certificate.facts()),
        )
        self._background = [
            asyncio.create_task(self._load_agents()),
            asyncio.create_task(watch_database(self.database, self._note_database, self._log)),
            *self._auth.background(),
            *self._catalogue.background(),
        ]
        if tls is not None:
            self._background.append(asyncio.create_task(tls.watch()))
        return port

    async def agents_ready(self) -> str:
        """Wait until the agents answer and return their model's id, or raise what failed."""
        await asyncio.shield(self._background[0])
        return self._loaded_engine().model

    @property
    def users(self) -> Users:
        """Who there is."""
        return self._auth.users

    @property
    def running_calls(self) -> int:
        """How many calls run at this moment."""
        return len(self._boundary.tasks)

    async def stop(self, hurry: asyncio.Event) -> None:
        """Drain and close everything. Setting `hurry` cuts the waiting short."""
        await self._server.drain(hurry)
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        await self.close()

    async def close(self) -> None:
        """Close what holds connections and threads, last made first."""
        await self._closing.aclose()

    async def _load_tls(self) -> ServerTls | None:
        files = tls_files(self.settings)
        return None if files is None else await ServerTls.load(files, self._clock, self._log)

    def _build_limits(self) -> None:
        telemetry = self._observation.telemetry
        self._rate_limits = RateLimits(
            rates(self.settings),
            monotonic=monotonic,
            clock=self._clock,
            random=random,
            telemetry=telemetry,
        )
        self.admission = Admission(
            places(self.settings, self.database.pools[0].size),
            monotonic=monotonic,
            random=random,
            telemetry=telemetry,
        )

    def _methods(self) -> Sequence[Method]:
        methods = [
            *methods_of(AUTH, self._auth.auth_servicer),
            *methods_of(USERS, self._auth.user_servicer),
            *methods_of(CATALOGUE, *self._catalogue.servicers),
            *methods_of(AGENT, AgentServicer(self._chat_parts())),
            *methods_of(HEALTH, self.health, policy=_infrastructure_policy),
        ]
        if self.settings.reflection_served:
            services = [service.full_name for service in (*SERVICES, HEALTH)]
            methods.extend(reflection_methods(services))
        return methods

    def _chat_parts(self) -> ChatParts:
        return ChatParts(
            engine=self._loaded_engine,
            sessions=Sessions(SqlSessions(self.database, self._clock), self._clock, uuid4),
            authenticate=self._auth.authenticate,
            authorize=self._authorize_chat,
            clock=self._clock,
            new_uuid=uuid4,
            draining=self._gate.draining,
            grace=timedelta(seconds=self.settings.grace_seconds),
            log=self._log,
            telemetry=self._observation.telemetry,
            draw_turn=partial(self._rate_limits.draw, policy=CHAT_POLICY),
        )

    def _authorize_chat(self, principal: Principal) -> None:
        CHAT_POLICY.authorize(principal, self._clock())

    def _loaded_engine(self) -> ChatEngine:
        if self._engine is None:
            raise DomainError(
                "the agents are still being loaded; try again in a moment",
                reason="MODEL_UNAVAILABLE",
                metadata={"model": "", "status": "loading"},
                retry_delay=timedelta(seconds=1),
            )
        return self._engine

    def _note_database(self, *, up: bool) -> None:
        self._database_up = up
        self._tell_health()

    def _note_model(self, *, up: bool) -> None:
        self._model_up = up
        self._tell_health()

    def _tell_health(self) -> None:
        """Let each name follow what its calls need."""
        agents = self._engine is not None and self._model_up
        for name in ("", "readiness", AUTH.full_name, USERS.full_name, CATALOGUE.full_name):
            self.health.set(name, serving=self._database_up)
        self.health.set(AGENT.full_name, serving=self._database_up and agents)

    async def _load_agents(self) -> None:
        # Importing Semantic Kernel takes seconds: after the port is open, and in a thread.
        kernel = await imported("server.agent.kernel")
        watch = ModelWatch(self._note_model, clock=monotonic, log=self._log)
        model = language_model(kernel, self.settings, self._catalogue.catalogue, watch)
        engine: ChatEngine = kernel.build_engine(
            model=model,
            catalogue_tools=catalogue_tools(self._catalogue.catalogue, self._catalogue.search),
            telemetry=self._observation.telemetry,
        )
        self._engine = engine
        self._closing.push_async_callback(engine.close)
        self._tell_health()
        if self.settings.model_configured:
            self._background.append(asyncio.create_task(watch.run(model.probe)))
        # What start made stays: the collector need not look at it again.
        gc.collect()
        gc.freeze()


def _infrastructure_policy(method: MethodDescriptor) -> MethodPolicy:
    return infrastructure(f"/{method.containing_service.full_name}/{method.name}")
