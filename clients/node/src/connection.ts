// Opens the channel to a mesh, and makes what goes along with a call. Copy this into your program.
import { readFileSync } from "node:fs";
import { type CallOptions, type ChannelOptions, credentials, Metadata } from "@grpc/grpc-js";
import { OrchestratorServiceClient } from "./generated/sensorium/v1/orchestrator.js";

// gRPC takes in 4 MiB a message unless told otherwise; the server's limit is this one (see Limits in Describe).
const MAX_MESSAGE_BYTES = 64 * 1024 * 1024;

const OPTIONS: ChannelOptions = {
  "grpc.max_receive_message_length": MAX_MESSAGE_BYTES,
  "grpc.max_send_message_length": MAX_MESSAGE_BYTES,
};

/**
 * Returns a client of the orchestrator: one for the whole program, to be closed at its end.
 *
 * @param address such as "localhost:8001", or "dns:///mesh.example:8001"
 * @param ca path of the PEM file with the authority that the server's certificate leads to; undefined: plain text
 */
export function open(address: string, ca?: string): OrchestratorServiceClient {
  const security = ca === undefined ? credentials.createInsecure() : credentials.createSsl(readFileSync(ca));
  return new OrchestratorServiceClient(address, security, OPTIONS);
}

/** Returns the metadata of one call. The token is sent as it is: give one over TLS alone. */
export function metadata(token?: string, values: Record<string, string> = {}): Metadata {
  const sent = new Metadata();
  if (token) sent.set("authorization", `Bearer ${token}`);
  for (const [key, value] of Object.entries(values)) sent.set(key, value);
  return sent;
}

/** Returns the options of one call that must be done within so many milliseconds from now. Without them it may hang. */
export function within(ms: number): Partial<CallOptions> {
  return { deadline: Date.now() + ms };
}
