"""
Every attribute, event and scope name that flowspan writes, and the values from a closed list.

Standard names first (OpenTelemetry semantic conventions, then OpenInference, LangWatch and
Traceloop where their tools read nothing else), ours under `flowspan.`. Leans on nothing;
`docs/reference.md` is compared with this file by a test.
"""

from typing import Final

SCOPE_NAME: Final = "flowspan"
SCHEMA_URL: Final = "https://opentelemetry.io/schemas/1.41.1"

# OpenTelemetry: generic
ERROR_TYPE: Final = "error.type"
SESSION_ID: Final = "session.id"
USER_ID: Final = "user.id"
ENDUSER_ID: Final = "enduser.id"
EXCEPTION: Final = "exception"  # event
EXCEPTION_TYPE: Final = "exception.type"
EXCEPTION_MESSAGE: Final = "exception.message"
EXCEPTION_STACKTRACE: Final = "exception.stacktrace"
SERVICE_NAME: Final = "service.name"  # resource

# OpenTelemetry: generative AI
GEN_AI_OPERATION_NAME: Final = "gen_ai.operation.name"
GEN_AI_WORKFLOW_NAME: Final = "gen_ai.workflow.name"
GEN_AI_CONVERSATION_ID: Final = "gen_ai.conversation.id"
GEN_AI_AGENT_NAME: Final = "gen_ai.agent.name"
GEN_AI_TOOL_NAME: Final = "gen_ai.tool.name"
GEN_AI_TOOL_CALL_ID: Final = "gen_ai.tool.call.id"
GEN_AI_TOOL_CALL_ARGUMENTS: Final = "gen_ai.tool.call.arguments"
GEN_AI_TOOL_CALL_RESULT: Final = "gen_ai.tool.call.result"
GEN_AI_INPUT_MESSAGES: Final = "gen_ai.input.messages"
GEN_AI_OUTPUT_MESSAGES: Final = "gen_ai.output.messages"
GEN_AI_RETRIEVAL_QUERY_TEXT: Final = "gen_ai.retrieval.query.text"
GEN_AI_PROVIDER_NAME: Final = "gen_ai.provider.name"
GEN_AI_REQUEST_MODEL: Final = "gen_ai.request.model"
GEN_AI_REQUEST_TEMPERATURE: Final = "gen_ai.request.temperature"
GEN_AI_REQUEST_MAX_TOKENS: Final = "gen_ai.request.max_tokens"
GEN_AI_REQUEST_TOP_P: Final = "gen_ai.request.top_p"
GEN_AI_REQUEST_TOP_K: Final = "gen_ai.request.top_k"
GEN_AI_REQUEST_FREQUENCY_PENALTY: Final = "gen_ai.request.frequency_penalty"
GEN_AI_REQUEST_PRESENCE_PENALTY: Final = "gen_ai.request.presence_penalty"
GEN_AI_REQUEST_SEED: Final = "gen_ai.request.seed"
GEN_AI_REQUEST_CHOICE_COUNT: Final = "gen_ai.request.choice.count"
GEN_AI_REQUEST_STOP_SEQUENCES: Final = "gen_ai.request.stop_sequences"
GEN_AI_REQUEST_STREAM: Final = "gen_ai.request.stream"
GEN_AI_RESPONSE_ID: Final = "gen_ai.response.id"
GEN_AI_RESPONSE_MODEL: Final = "gen_ai.response.model"
GEN_AI_RESPONSE_FINISH_REASONS: Final = "gen_ai.response.finish_reasons"
GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK: Final = "gen_ai.response.time_to_first_chunk"
GEN_AI_USAGE_INPUT_TOKENS: Final = "gen_ai.usage.input_tokens"
GEN_AI_USAGE_OUTPUT_TOKENS: Final = "gen_ai.usage.output_tokens"
GEN_AI_USAGE_CACHE_READ: Final = "gen_ai.usage.cache_read.input_tokens"
GEN_AI_USAGE_CACHE_CREATION: Final = "gen_ai.usage.cache_creation.input_tokens"
GEN_AI_USAGE_REASONING: Final = "gen_ai.usage.reasoning.output_tokens"

# OpenInference (Phoenix)
OPENINFERENCE_SPAN_KIND: Final = "openinference.span.kind"
INPUT_VALUE: Final = "input.value"
INPUT_MIME_TYPE: Final = "input.mime_type"
OUTPUT_VALUE: Final = "output.value"
OUTPUT_MIME_TYPE: Final = "output.mime_type"
TAG_TAGS: Final = "tag.tags"
METADATA: Final = "metadata"
GRAPH_NODE_ID: Final = "graph.node.id"
GRAPH_NODE_NAME: Final = "graph.node.name"
GRAPH_NODE_PARENT_ID: Final = "graph.node.parent_id"

# LangWatch and Traceloop
LANGWATCH_SPAN_TYPE: Final = "langwatch.span.type"
TRACELOOP_SPAN_KIND: Final = "traceloop.span.kind"

# flowspan: run
RUN_ID: Final = "flowspan.run.id"
RUN_NAME: Final = "flowspan.run.name"
RUN_STATUS: Final = "flowspan.run.status"
RUN_ITERATION: Final = "flowspan.run.iteration"
FLOW_ID: Final = "flowspan.flow.id"
FLOW_NAME: Final = "flowspan.flow.name"
PROJECT_NAME: Final = "flowspan.project.name"
USAGE_INPUT_TOKENS: Final = "flowspan.usage.input_tokens"
USAGE_OUTPUT_TOKENS: Final = "flowspan.usage.output_tokens"
USAGE_TOTAL_TOKENS: Final = "flowspan.usage.total_tokens"

# flowspan: component
COMPONENT_ID: Final = "flowspan.component.id"
COMPONENT_NAME: Final = "flowspan.component.name"
COMPONENT_TYPE: Final = "flowspan.component.type"
COMPONENT_CLASS: Final = "flowspan.component.class"
COMPONENT_STATUS: Final = "flowspan.component.status"

# flowspan: calls below a component
CALL_STATUS: Final = "flowspan.call.status"
RETRY: Final = "flowspan.retry"  # event
RETRY_ATTEMPT: Final = "flowspan.retry.attempt"

# flowspan: any span, also of other scopes
SPAN_STATUS: Final = "flowspan.status"

# flowspan: links
LINK_TYPE: Final = "flowspan.link.type"
EDGE_SOURCE: Final = "flowspan.edge.source"
EDGE_TARGET: Final = "flowspan.edge.target"

# flowspan: payloads
TRUNCATED: Final = "flowspan.truncated"
REDACTED: Final = "flowspan.redacted"
INPUT_BYTES: Final = "flowspan.input.bytes"
OUTPUT_BYTES: Final = "flowspan.output.bytes"

# flowspan: events
LOG: Final = "flowspan.log"  # event
LOG_NAME: Final = "log.name"
LOG_TYPE: Final = "log.type"
LOG_MESSAGE: Final = "log.message"
LOGS_DROPPED: Final = "flowspan.logs.dropped"
CANCELLED: Final = "flowspan.cancelled"  # event

# metrics: the SDK's own names, and what the SDK has not
OTEL_COMPONENT_NAME: Final = "otel.component.name"
OTEL_COMPONENT_TYPE: Final = "otel.component.type"
METRIC_PROCESSED: Final = "otel.sdk.processor.span.processed"
METRIC_QUEUE_SIZE: Final = "otel.sdk.processor.span.queue.size"
METRIC_QUEUE_CAPACITY: Final = "otel.sdk.processor.span.queue.capacity"
METRIC_EXPORTED: Final = "otel.sdk.exporter.span.exported"
METRIC_INFLIGHT: Final = "otel.sdk.exporter.span.inflight"
METRIC_OPERATION_DURATION: Final = "otel.sdk.exporter.operation.duration"
METRIC_SPOOL_SPANS: Final = "flowspan.spool.spans"
METRIC_SPOOL_BYTES: Final = "flowspan.spool.bytes"

# values
STATUS_OK: Final = "ok"
STATUS_ERROR: Final = "error"
STATUS_CANCELLED: Final = "cancelled"
STATUS_PAUSED: Final = "paused"
STATUS_ABANDONED: Final = "abandoned"

LINK_EDGE: Final = "edge"
LINK_RESUME: Final = "resume"
LINK_ORIGIN: Final = "origin"

MIME_JSON: Final = "application/json"
MIME_TEXT: Final = "text/plain"
