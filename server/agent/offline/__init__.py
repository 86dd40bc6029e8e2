"""Answers film questions by rules, without a language model and without a network."""

from server.agent.offline.model import OFFLINE_MODEL, OfflineModel

__all__ = ["OFFLINE_MODEL", "OfflineModel"]
