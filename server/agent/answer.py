"""A turn's events gathered into one answer, for callers that do not stream."""

from uuid import UUID

from server.core.errors import DomainError, WrongState
from server.generated.interview.agent.v1 import agent_service_pb2, chat_pb2, resources_pb2
from server.rpc.details import domain_error_of


class Answer:
    """Takes the events of one turn in order."""

    def __init__(self, session: str, turn_id: UUID, question: str) -> None:
        self._turn = resources_pb2.Turn(
            name=f"{session}/turns/{turn_id}",
            turn_id=str(turn_id),
            user_message=resources_pb2.Message(
                message_id=str(turn_id), role=resources_pb2.MESSAGE_ROLE_USER, text=question
            ),
        )
        self._session = session
        self._agent = ""

    def add(self, response: chat_pb2.ChatResponse) -> None:
        """Take one event; those of other turns do not count.

        Raises:
            DomainError: what the turn failed with, or that it was cancelled.
        """
        turn = self._turn
        if response.turn_id != turn.turn_id:
            return
        if response.sequence:
            turn.first_sequence = turn.first_sequence or response.sequence
            turn.last_sequence = response.sequence
        match response.WhichOneof("event"):
            case "turn_started":
                turn.create_time.CopyFrom(response.emit_time)
                turn.start_time.CopyFrom(response.emit_time)
            case "message_completed":
                turn.agent_messages.append(response.message_completed.message)
            case "tool_call_finished":
                turn.tool_calls.append(response.tool_call_finished.tool_call)
            case "agent_handoff":
                turn.handoffs.append(response.agent_handoff.handoff)
            case "turn_completed" | "turn_failed" | "turn_cancelled":
                self._end(response)

    def message(self) -> agent_service_pb2.AskResponse:
        """Return the answer: the last message's text, the citations of all of them."""
        messages = self._turn.agent_messages
        return agent_service_pb2.AskResponse(
            answer=messages[-1].text if messages else "",
            agent=self._agent,
            citations=[citation for message in messages for citation in message.citations],
            turn=self._turn,
            session=self._session,
        )

    def _cancelled(self, cause: "resources_pb2.CancelCause.ValueType") -> DomainError:
        if cause == resources_pb2.CANCEL_CAUSE_SERVER_DRAINING:
            return DomainError(
                "the server stopped before the answer was ready; ask again with a new request_id",
                reason="SERVER_DRAINING",
            )
        # Whoever asked went away, and now repeats the call: that must not look like an outage.
        return WrongState(
            "this question was cancelled before its answer; ask again with a new request_id",
            self._turn.name,
            "CANCELLED",
            ("COMPLETED",),
        )

    def _end(self, response: chat_pb2.ChatResponse) -> None:
        if response.HasField("turn_failed"):
            raise domain_error_of(response.turn_failed.status)
        if response.HasField("turn_cancelled"):
            raise self._cancelled(response.turn_cancelled.cause)
        self._agent = response.turn_completed.agent
        self._turn.state = resources_pb2.TURN_STATE_COMPLETED
        self._turn.finish_reason = response.turn_completed.finish_reason
        self._turn.usage.CopyFrom(response.turn_completed.usage)
        self._turn.end_time.CopyFrom(response.emit_time)
