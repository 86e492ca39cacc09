// The driver of the conformance cases: a case a line on stdin, its answer a line on stdout.
// Usage: driver ADDRESS [--ca PEM] [--token TOKEN]
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";
import { type CallOptions, type ClientUnaryCall, type Metadata, status as Code } from "@grpc/grpc-js";
import { received, stream, unary, type UnaryMethod } from "./calls.js";
import { metadata, open, within } from "./connection.js";
import { isServiceError, retryDelayMs, statusOf } from "./failure.js";
import { Any } from "./generated/google/protobuf/any.js";
import { BadRequest, ErrorInfo, RetryInfo } from "./generated/google/rpc/error_details.js";
import { Status } from "./generated/google/rpc/status.js";
import * as api from "./generated/sensorium/v1/orchestrator.js";

/** A line of stdin; clients/README.md says what its fields mean. */
interface Case {
  case: string;
  method: string;
  deadline_ms: number;
  metadata?: Record<string, string>;
  requests: unknown[];
  token?: string;
  cancel_after?: number;
}

/** Protobuf's JSON mapping of a message. */
interface Json<Message> {
  fromJSON(json: unknown): Message;
  toJSON(message: Message): unknown;
}

type Started = (call: Pick<ClientUnaryCall, "on">) => void;
/** Runs a case and hands on the responses as they come, in JSON. */
type Run = (
  one: Case,
  sent: Metadata,
  options: Partial<CallOptions>,
  started: Started,
  took: (json: unknown) => void,
) => Promise<void>;

function unaryRun<Request, Response>(
  method: UnaryMethod<Request, Response>,
  request: Json<Request>,
  response: Json<Response>,
): Run {
  return async (one, sent, options, started, took) => {
    took(response.toJSON(await unary(method, request.fromJSON(one.requests[0]), sent, options, started)));
  };
}

function streamRun(client: api.OrchestratorServiceClient): Run {
  return async (one, sent, options, started, took) => {
    const call = client.embedStream(sent, options);
    started(call);
    let count = 0;
    for await (const response of stream(call, one.requests.map((json) => api.EmbedStreamRequest.fromJSON(json)))) {
      took(api.EmbedStreamResponse.toJSON(response));
      count += 1;
      if (count === one.cancel_after) call.cancel(); // and read on, to its status
    }
  };
}

function runs(client: api.OrchestratorServiceClient): Record<string, Run> {
  return {
    Embed: unaryRun(client.embed.bind(client), api.EmbedRequest, api.EmbedResponse),
    EmbedWindows: unaryRun(client.embedWindows.bind(client), api.EmbedWindowsRequest, api.EmbedWindowsResponse),
    Compare: unaryRun(client.compare.bind(client), api.CompareRequest, api.CompareResponse),
    Classify: unaryRun(client.classify.bind(client), api.ClassifyRequest, api.ClassifyResponse),
    Fuse: unaryRun(client.fuse.bind(client), api.FuseRequest, api.FuseResponse),
    Predict: unaryRun(
      client.predict.bind(client),
      api.OrchestratorServicePredictRequest,
      api.OrchestratorServicePredictResponse,
    ),
    Project: unaryRun(
      client.project.bind(client),
      api.OrchestratorServiceProjectRequest,
      api.OrchestratorServiceProjectResponse,
    ),
    Tokenize: unaryRun(
      client.tokenize.bind(client),
      api.OrchestratorServiceTokenizeRequest,
      api.OrchestratorServiceTokenizeResponse,
    ),
    Describe: unaryRun(client.describe.bind(client), api.DescribeRequest, api.DescribeResponse),
    EmbedStream: streamRun(client),
  };
}

/** Runs one case and returns its answer. */
async function answer(one: Case, run: Run | undefined, token?: string): Promise<unknown> {
  const responses: unknown[] = [];
  let came = new Map<string, string>();
  let status = Status.create({ code: Code.OK });
  try {
    if (!run) throw new Error(`there is no method ${one.method}`);
    const sent = metadata(one.token ?? token, one.metadata);
    const started: Started = (call) => {
      came = received(call);
    };
    await run(one, sent, within(one.deadline_ms), started, (json) => responses.push(json));
  } catch (error) {
    // What is no failed call is a case that this driver cannot read, or its own fault: the answer says so, and it goes on.
    status = isServiceError(error) ? statusOf(error) : Status.create({ code: Code.UNKNOWN, message: String(error) });
  }
  const details = status.details.map((any) => Any.toJSON(any));
  const { code, message } = status;
  return { case: one.case, status: Code[code], message, responses, details, metadata: Object.fromEntries(came) };
}

/** Puts the content of an Any in place of its bytes, as protobuf's JSON mapping has it; for JSON.stringify. */
function unpack(_key: string, json: unknown): unknown {
  if (typeof json !== "object" || json === null || !("typeUrl" in json)) return json;
  const { typeUrl, value } = Any.fromJSON(json);
  for (const kind of [BadRequest, ErrorInfo]) {
    if (!typeUrl.endsWith(`/${kind.$type}`)) continue;
    return { "@type": typeUrl, ...(kind.toJSON(kind.decode(value) as never) as object) }; // each kind takes its own message
  }
  if (typeUrl.endsWith(`/${RetryInfo.$type}`)) {
    const delayMs = retryDelayMs(Status.create({ details: [{ typeUrl, value }] })) ?? 0;
    return { "@type": typeUrl, retryDelay: `${delayMs / 1000}s` };
  }
  return { "@type": typeUrl };
}

async function main(): Promise<void> {
  const option = { type: "string" } as const;
  const { values, positionals } = parseArgs({ options: { ca: option, token: option }, allowPositionals: true });
  const client = open(positionals[0] ?? "localhost:8001", values.ca);
  const known = runs(client);
  for await (const line of createInterface({ input: process.stdin })) {
    const one = JSON.parse(line) as Case;
    const run = known[one.method.split("/").at(-1) ?? ""];
    process.stdout.write(`${JSON.stringify(await answer(one, run, values.token), unpack)}\n`);
  }
  client.close();
}

await main();
