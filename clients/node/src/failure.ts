// Reads what an error says to a program. Copy this into your program.
import { type ServiceError } from "@grpc/grpc-js";
import { ErrorInfo, RetryInfo } from "./generated/google/rpc/error_details.js";
import { Status } from "./generated/google/rpc/status.js";

/** A generated message, such as BadRequest. */
export interface Kind<Message> {
  readonly $type: string;
  decode(bytes: Uint8Array): Message;
}

/** Whether something that was caught is a failed call. */
export function isServiceError(error: unknown): error is ServiceError {
  return error instanceof Error && "code" in error && typeof error.code === "number" && "metadata" in error;
}

/** Returns the status of a failed call with its details: the same message that stands for an item that failed. */
export function statusOf(error: ServiceError): Status {
  const [packed] = error.metadata.get("grpc-status-details-bin");
  if (packed instanceof Uint8Array) return Status.decode(packed);
  return Status.create({ code: error.code, message: error.details }); // the server was not reached, or the deadline passed
}

/** Returns the detail of one kind, such as `detail(status, BadRequest)`; undefined where there is none. */
export function detail<Message>(status: Status, kind: Kind<Message>): Message | undefined {
  const packed = status.details.find((any) => any.typeUrl.endsWith(`/${kind.$type}`));
  return packed && kind.decode(packed.value);
}

/** Returns the reason, a name of ErrorReason; "" where there is none. */
export function reason(status: Status): string {
  return detail(status, ErrorInfo)?.reason ?? "";
}

/** Returns in how many milliseconds to try again; undefined: do not, the answer would be the same. */
export function retryDelayMs(status: Status): number | undefined {
  const delay = detail(status, RetryInfo)?.retryDelay;
  return delay && delay.seconds * 1000 + delay.nanos / 1e6;
}
