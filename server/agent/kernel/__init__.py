"""The engine on Semantic Kernel.

Importing this package imports Semantic Kernel, which takes seconds and about 90 MB: the
composition root does so after the port is bound, and nothing else does. No other package
imports `semantic_kernel` or `openai`.
"""

from server.agent.kernel.engine import SemanticKernelEngine, build_engine
from server.agent.kernel.openai import OpenAIModel

__all__ = ["OpenAIModel", "SemanticKernelEngine", "build_engine"]
