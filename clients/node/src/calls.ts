// Calls as promises, and streams with flow control. Copy this into your program.
import { once } from "node:events";
import type { CallOptions, ClientDuplexStream, ClientUnaryCall, Metadata, ServiceError } from "@grpc/grpc-js";

/** A method of a generated client, such as `client.embed.bind(client)`. */
export type UnaryMethod<Request, Response> = (
  request: Request,
  metadata: Metadata,
  options: Partial<CallOptions>,
  callback: (error: ServiceError | null, response: Response) => void,
) => ClientUnaryCall;

/** What a call emits, whichever its kind. */
type Emitter = Pick<ClientUnaryCall, "on">;

/** Returns what the server sends along with a call, headers and trailers in one; it is complete once the call is over. */
export function received(call: Emitter): Map<string, string> {
  const found = new Map<string, string>();
  const take = (metadata: Metadata) => {
    for (const [key, value] of Object.entries(metadata.getMap())) {
      if (typeof value === "string") found.set(key, value); // keys that end in -bin carry bytes
    }
  };
  call.on("metadata", take);
  call.on("status", (status) => take(status.metadata));
  return found;
}

/**
 * Returns the response of a call.
 *
 * @param started is given the call, to cancel it or to read what comes along (see `received`)
 * @throws ServiceError (see failure.ts)
 */
export function unary<Request, Response>(
  method: UnaryMethod<Request, Response>,
  request: Request,
  metadata: Metadata,
  options: Partial<CallOptions>,
  started: (call: ClientUnaryCall) => void = () => {},
): Promise<Response> {
  return new Promise((resolve, reject) => {
    started(method(request, metadata, options, (error, response) => (error ? reject(error) : resolve(response))));
  });
}

/**
 * Sends requests over a stream and yields the answers as they come. Sending and reading run side by side, and each waits:
 * the server stops reading while too much is unanswered, `write` then says so, and no more is sent until "drain".
 * Leaving the loop early cancels the call.
 *
 * @throws ServiceError (see failure.ts), or what `requests` throws
 */
export async function* stream<Request, Response>(
  call: ClientDuplexStream<Request, Response>,
  requests: Iterable<Request> | AsyncIterable<Request>,
): AsyncGenerator<Response> {
  const over = new AbortController(); // a call that is over drains no more
  let fault: unknown;
  const sending = send(call, requests, over.signal).catch((error: unknown) => {
    if (over.signal.aborted) return;
    fault = error;
    call.cancel(); // else the reader would wait for answers to what was never sent
  });
  try {
    for await (const response of call) yield response as Response; // the types of Node know no stream of one type
  } catch (error) {
    throw fault ?? error;
  } finally {
    over.abort();
    call.cancel(); // has no effect on one that is over
    await sending;
  }
}

async function send<Request, Response>(
  call: ClientDuplexStream<Request, Response>,
  requests: Iterable<Request> | AsyncIterable<Request>,
  over: AbortSignal,
): Promise<void> {
  for await (const request of requests) {
    if (over.aborted) return;
    if (!call.write(request)) await once(call, "drain", { signal: over });
  }
  call.end();
}
