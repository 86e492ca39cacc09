// A tour of what most callers need. Usage: tour ADDRESS [--ca PEM] [--token TOKEN] [--inputs FOLDER]
// Exits with 0 only if everything came out as it should.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { type Metadata, status as Code } from "@grpc/grpc-js";
import { received, stream, unary } from "./calls.js";
import { metadata, open, within } from "./connection.js";
import { detail, isServiceError, reason, retryDelayMs, statusOf } from "./failure.js";
import { BadRequest } from "./generated/google/rpc/error_details.js";
import type { Status } from "./generated/google/rpc/status.js";
import type { Content } from "./generated/sensorium/v1/content.js";
import {
  ClassifyRequest,
  EmbedRequest,
  EmbedStreamRequest,
  type OrchestratorServiceClient,
} from "./generated/sensorium/v1/orchestrator.js";

const STREAM_COUNT = 1000;
const DIGITS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"];

const text = (value: string): Content => ({ kind: { $case: "text", value } });
const image = (data: Buffer): Content => ({ kind: { $case: "image", value: { data } } });
const audio = (data: Buffer): Content => ({
  kind: { $case: "audio", value: { source: { $case: "data", value: data } } },
});

/** What the steps of the tour share. */
interface Tour {
  client: OrchestratorServiceClient;
  image: Content;
  audio: Content;
  sent: (values?: Record<string, string>) => Metadata;
}

/** Embeds a text, a picture and a sound in one call: three vectors of one space. Shows metadata both ways. */
async function embed({ client, image, audio, sent }: Tour): Promise<void> {
  const request = EmbedRequest.create({ contents: [text("the digit three"), image, audio] });
  const id = { "x-request-id": "tour-node-1" }; // stands in the server's log; made there where absent
  let came = new Map<string, string>();
  const response = await unary(client.embed.bind(client), request, sent(id), within(10_000), (call) => {
    came = received(call);
  });
  for (const { result } of response.results) {
    assert(result?.$case === "embedding", "an item failed");
    console.log(`embedded: ${result.value.values.length} numbers of ${result.value.space}`);
  }
  assert.equal(came.get("x-request-id"), "tour-node-1");
  const tookMs = (response.receipt?.totalNs ?? 0) / 1e6;
  console.log(`request tour-node-1 took ${tookMs.toFixed(1)} ms on the server`);
}

/** Classifies the picture and the sound by names alone (zero-shot). */
async function classify({ client, image, audio, sent }: Tour): Promise<void> {
  const labels = DIGITS.map((name) => ({ name }));
  const request = ClassifyRequest.create({ contents: [image, audio], labels, topK: 1 });
  const response = await unary(client.classify.bind(client), request, sent(), within(10_000));
  for (const { result } of response.results) {
    const best = result?.$case === "ranking" ? result.value.labels[0] : undefined;
    console.log(`classified: ${best?.name} (${best?.probability?.toFixed(3) ?? "not calibrated"})`);
    assert.equal(best?.name, "three");
  }
}

/** Streams many texts; each is made when the stream can take it, and answers may come out of order. */
async function embedStream({ client, sent }: Tour): Promise<void> {
  function* requests() {
    for (let i = 0; i < STREAM_COUNT; i++) {
      yield EmbedStreamRequest.create({ id: `${i}`, content: text(`text number ${i}`) });
    }
  }
  const call = client.embedStream(sent(), within(60_000)); // the deadline is that of the whole stream
  const answered = new Set<string>();
  for await (const { id, result } of stream(call, requests())) {
    if (result?.result?.$case === "embedding") answered.add(id);
  }
  console.log(`streamed: ${STREAM_COUNT} texts, ${answered.size} answers`);
  assert.equal(answered.size, STREAM_COUNT);
}

/** One bad item fails alone; the call is OK. */
async function badItem({ client, sent }: Tour): Promise<void> {
  const request = EmbedRequest.create({ contents: [text("this one is fine"), image(Buffer.alloc(0))] });
  const response = await unary(client.embed.bind(client), request, sent(), within(10_000));
  const [good, bad] = response.results.map(({ result }) => result);
  assert(good?.$case === "embedding" && bad?.$case === "error", "the second item alone should fail");
  console.log("a bad item:");
  print(bad.value);
  assert.equal(reason(bad.value), "ERROR_REASON_MEDIA_UNDECODABLE");
}

/** A bad request fails as a whole, with the same details. */
async function badRequest({ client, sent }: Tour): Promise<void> {
  const call = unary(client.embed.bind(client), EmbedRequest.create(), sent(), within(10_000));
  const error: unknown = await call.then(() => undefined, (error: unknown) => error);
  assert(isServiceError(error), "an empty request should be refused");
  const status = statusOf(error);
  console.log("a bad request:");
  print(status);
  assert.equal(status.code, Code.INVALID_ARGUMENT);
  assert.equal(reason(status), "ERROR_REASON_EMPTY_REQUEST");
}

/** Says what an error tells a program: the field that is at fault, the reason, and whether to try again. */
function print(status: Status): void {
  console.log(`  ${Code[status.code]}: ${status.message}`);
  for (const { field, description } of detail(status, BadRequest)?.fieldViolations ?? []) {
    console.log(`  field ${field}: ${description}`);
  }
  console.log(`  reason ${reason(status)}`);
  const delayMs = retryDelayMs(status);
  console.log(delayMs === undefined ? "  no use in trying again: no RetryInfo" : `  try again in ${delayMs} ms`);
}

async function main(): Promise<void> {
  const option = { type: "string" } as const;
  const { values, positionals } = parseArgs({
    options: { ca: option, token: option, inputs: { ...option, default: "." } },
    allowPositionals: true,
  });
  const client = open(positionals[0] ?? "localhost:8001", values.ca);
  const read = (name: string) => readFileSync(join(values.inputs, name)); // whole files: the server knows the format
  const tour: Tour = {
    client,
    image: image(read("three.png")),
    audio: audio(read("three.wav")),
    sent: (others) => metadata(values.token, others),
  };
  try {
    for (const step of [embed, classify, embedStream, badItem, badRequest]) await step(tour);
    console.log("all came out as it should");
  } finally {
    client.close();
  }
}

main().catch((error: unknown) => {
  console.error(`tour: ${error instanceof Error ? error.message : error}`);
  process.exitCode = 1;
});
