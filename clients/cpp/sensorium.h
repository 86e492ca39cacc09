// What every C++ caller of Sensorium writes around the generated code: a channel, the details of errors, and a stream
// that is read while it is written.
#pragma once

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "sensorium/v1/orchestrator.grpc.pb.h"

namespace sensorium {

using Stub = v1::OrchestratorService::Stub;

/// Returns a channel to "host:port"; keep one for the whole program, it is safe to share among threads.
///
/// `ca` is the path of a PEM file with the authorities of the server's certificate; empty means plain text. `token` is
/// sent as `authorization: Bearer` with every call; empty means none.
///
/// Throws std::invalid_argument for a token without `ca`, which gRPC would not send, and std::runtime_error where `ca`
/// cannot be read.
std::shared_ptr<grpc::Channel> connect(const std::string& address, const std::string& ca = "", const std::string& token = "");

/// Returns the whole content of a file. Throws std::runtime_error where it cannot be read.
std::string read_file(const std::string& path);

/// Sets the time by which the call must be answered. Without it the server's default counts (DescribeResponse says it).
void set_timeout(grpc::ClientContext& context, std::chrono::milliseconds timeout);

/// Returns the rich status of a failed call: code, message and details. Without details where the failure was not
/// Sensorium's own: no connection, a proxy, a deadline that passed here.
google::rpc::Status rich_status(const grpc::Status& status);

/// Returns the detail of one type, such as google::rpc::BadRequest; none where the status has none. It works for failed
/// calls (through rich_status) and for the errors of single items alike.
template <class Detail>
std::optional<Detail> detail(const google::rpc::Status& status) {
  for (const auto& any : status.details()) {
    Detail found;
    if (any.UnpackTo(&found)) return found;
  }
  return std::nullopt;
}

/// Returns how long to wait before another try; none where another try is of no use.
std::optional<std::chrono::nanoseconds> retry_delay(const google::rpc::Status& status);

/// Runs one EmbedStream: sends what `next` returns until that is none, and hands every answer to `take`, which returns
/// false to cancel the call. Returns the call's status when all of it has ended.
///
/// `next` runs on a thread of its own, `take` on the caller's; neither may throw. Memory stays bounded however much `next`
/// has to give: a Write returns only when flow control has let the message go, and the server stops reading while too many
/// contents are unanswered. For the same reason one thread that writes everything first and reads afterwards would wait
/// forever.
grpc::Status embed_stream(Stub& stub, grpc::ClientContext& context,
                          const std::function<std::optional<v1::EmbedStreamRequest>()>& next,
                          const std::function<bool(const v1::EmbedStreamResponse&)>& take);

}  // namespace sensorium
