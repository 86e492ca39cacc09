#include "sensorium.h"

#include <fstream>
#include <sstream>
#include <stdexcept>
#include <thread>

namespace sensorium {

namespace {
constexpr int kMaxMessageBytes = 64 * 1024 * 1024;  // Limits.max_message_bytes; gRPC's own limit would be 4 MiB
}

std::shared_ptr<grpc::Channel> connect(const std::string& address, const std::string& ca, const std::string& token) {
  if (ca.empty() && !token.empty()) throw std::invalid_argument("a token goes over TLS only: give the authority (--ca) too");
  std::shared_ptr<grpc::ChannelCredentials> credentials = grpc::InsecureChannelCredentials();
  if (!ca.empty()) credentials = grpc::SslCredentials({read_file(ca), "", ""});
  if (!token.empty()) credentials = grpc::CompositeChannelCredentials(credentials, grpc::AccessTokenCredentials(token));
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(kMaxMessageBytes);
  arguments.SetMaxSendMessageSize(kMaxMessageBytes);
  return grpc::CreateCustomChannel(address, credentials, arguments);
}

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream content;
  if (!file || !(content << file.rdbuf())) throw std::runtime_error("cannot read " + path);
  return content.str();
}

void set_timeout(grpc::ClientContext& context, std::chrono::milliseconds timeout) {
  context.set_deadline(std::chrono::system_clock::now() + timeout);
}

google::rpc::Status rich_status(const grpc::Status& status) {
  google::rpc::Status rich;
  // error_details() is the metadata grpc-status-details-bin. A proxy may have changed the code and left it: the code counts.
  if (rich.ParseFromString(status.error_details()) && rich.code() == status.error_code()) return rich;
  rich.Clear();
  rich.set_code(status.error_code());
  rich.set_message(status.error_message());
  return rich;
}

std::optional<std::chrono::nanoseconds> retry_delay(const google::rpc::Status& status) {
  const auto info = detail<google::rpc::RetryInfo>(status);
  if (!info) return std::nullopt;
  return std::chrono::seconds(info->retry_delay().seconds()) + std::chrono::nanoseconds(info->retry_delay().nanos());
}

grpc::Status embed_stream(Stub& stub, grpc::ClientContext& context,
                          const std::function<std::optional<v1::EmbedStreamRequest>()>& next,
                          const std::function<bool(const v1::EmbedStreamResponse&)>& take) {
  const auto stream = stub.EmbedStream(&context);
  std::thread writer([&] {
    while (auto request = next()) {
      if (!stream->Write(*request)) return;  // the call has ended; Finish says why
    }
    stream->WritesDone();
  });
  v1::EmbedStreamResponse response;
  bool wanted = true;
  while (stream->Read(&response)) {
    if (wanted && !take(response)) {
      context.TryCancel();
      wanted = false;  // answers that had come already are read and dropped
    }
  }
  writer.join();
  return stream->Finish();
}

}  // namespace sensorium
