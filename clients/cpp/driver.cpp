// The conformance driver: JSON cases on stdin, JSON answers on stdout, one a line, in order.
// Usage: driver ADDRESS [--ca PEM] [--token TOKEN]

#include <google/protobuf/util/json_util.h>

#include <iostream>
#include <map>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <vector>

#include "sensorium.h"

using nlohmann::json;
using google::protobuf::Message;
namespace v1 = sensorium::v1;

namespace {

json to_json(const Message& message) {
  std::string text;
  const auto status = google::protobuf::util::MessageToJsonString(message, &text);
  if (!status.ok()) throw std::runtime_error(status.ToString());
  return json::parse(text);
}

template <class Request>
Request from_json(const json& value) {
  Request request;
  const auto status = google::protobuf::util::JsonStringToMessage(value.dump(), &request);
  if (!status.ok()) throw std::runtime_error("not a " + request.GetTypeName() + ": " + status.ToString());
  return request;
}

/// Returns the canonical name of a code, such as "INVALID_ARGUMENT".
std::string code_name(int code) {
  static const char* const names[] = {"OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND",
                                      "ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION",
                                      "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS",
                                      "UNAUTHENTICATED"};
  return code >= 0 && code <= 16 ? names[code] : "UNKNOWN";
}

template <class Detail>
void add_detail(const google::rpc::Status& status, json& details) {
  const auto found = sensorium::detail<Detail>(status);
  if (!found) return;
  details.push_back(to_json(*found));
  details.back()["@type"] = "type.googleapis.com/" + found->GetTypeName();
}

json details_of(const google::rpc::Status& status) {
  json details = json::array();
  add_detail<google::rpc::BadRequest>(status, details);
  add_detail<google::rpc::ErrorInfo>(status, details);
  add_detail<google::rpc::RetryInfo>(status, details);
  return details;
}

/// Returns initial and trailing metadata as one object, without binary entries.
json metadata_of(const grpc::ClientContext& context) {
  json metadata = json::object();
  for (const auto* entries : {&context.GetServerInitialMetadata(), &context.GetServerTrailingMetadata()}) {
    for (const auto& [key, value] : *entries) {
      if (!key.ends_with("-bin")) metadata[std::string(key.data(), key.size())] = std::string(value.data(), value.size());
    }
  }
  return metadata;
}

/// Runs the one call of a case, and returns its status; answers go to `responses`.
using Call = std::function<grpc::Status(sensorium::Stub&, grpc::ClientContext&, const json& test, json& responses)>;

template <class Request, class Response>
Call unary(grpc::Status (sensorium::Stub::*method)(grpc::ClientContext*, const Request&, Response*)) {
  return [method](sensorium::Stub& stub, grpc::ClientContext& context, const json& test, json& responses) {
    Response response;
    const auto status = (stub.*method)(&context, from_json<Request>(test.at("requests").at(0)), &response);
    if (status.ok()) responses.push_back(to_json(response));
    return status;
  };
}

grpc::Status stream(sensorium::Stub& stub, grpc::ClientContext& context, const json& test, json& responses) {
  std::vector<v1::EmbedStreamRequest> requests;
  for (const auto& request : test.at("requests")) requests.push_back(from_json<v1::EmbedStreamRequest>(request));
  const size_t wanted_count = test.value("cancel_after", SIZE_MAX);
  size_t sent = 0;
  const auto next = [&]() -> std::optional<v1::EmbedStreamRequest> {
    if (sent == requests.size()) return std::nullopt;
    return std::move(requests[sent++]);
  };
  const auto take = [&](const v1::EmbedStreamResponse& response) {
    responses.push_back(to_json(response));
    return responses.size() < wanted_count;
  };
  return sensorium::embed_stream(stub, context, next, take);
}

const std::map<std::string, Call> kCalls = {
    {"sensorium.v1.OrchestratorService/Embed", unary(&sensorium::Stub::Embed)},
    {"sensorium.v1.OrchestratorService/Compare", unary(&sensorium::Stub::Compare)},
    {"sensorium.v1.OrchestratorService/Classify", unary(&sensorium::Stub::Classify)},
    {"sensorium.v1.OrchestratorService/Fuse", unary(&sensorium::Stub::Fuse)},
    {"sensorium.v1.OrchestratorService/EmbedWindows", unary(&sensorium::Stub::EmbedWindows)},
    {"sensorium.v1.OrchestratorService/Predict", unary(&sensorium::Stub::Predict)},
    {"sensorium.v1.OrchestratorService/Project", unary(&sensorium::Stub::Project)},
    {"sensorium.v1.OrchestratorService/Tokenize", unary(&sensorium::Stub::Tokenize)},
    {"sensorium.v1.OrchestratorService/Describe", unary(&sensorium::Stub::Describe)},
    {"sensorium.v1.OrchestratorService/EmbedStream", stream},
};

json answer(sensorium::Stub& stub, const json& test, const std::string& default_token) {
  json responses = json::array();
  grpc::ClientContext context;
  sensorium::set_timeout(context, std::chrono::milliseconds(test.value("deadline_ms", 10000)));
  const json metadata = test.value("metadata", json::object());
  for (const auto& [key, value] : metadata.items()) context.AddMetadata(key, value.get<std::string>());
  // Metadata and not call credentials, which gRPC refuses on a plain channel: a case may want to see that refused by the server.
  const std::string token = test.value("token", default_token);
  if (!token.empty()) context.AddMetadata("authorization", "Bearer " + token);
  const auto call = kCalls.find(test.at("method"));
  if (call == kCalls.end()) throw std::runtime_error("no such method: " + test.at("method").dump());
  const auto status = call->second(stub, context, test, responses);
  return {{"status", code_name(status.error_code())},
          {"message", status.error_message()},
          {"responses", responses},
          {"details", details_of(sensorium::rich_status(status))},
          {"metadata", metadata_of(context)}};
}

}  // namespace

int main(int argc, char** argv) try {
  std::string ca, token;
  for (int i = 2; i + 1 < argc; i += 2) (std::string(argv[i]) == "--ca" ? ca : token) = argv[i + 1];
  if (argc < 2 || argc % 2 == 1) return std::cerr << "usage: driver ADDRESS [--ca PEM] [--token TOKEN]\n", 2;
  const auto stub = v1::OrchestratorService::NewStub(sensorium::connect(argv[1], ca));
  for (std::string line; std::getline(std::cin, line);) {
    json result, test;
    try {
      test = json::parse(line);
      result = answer(*stub, test, token);
    } catch (const std::exception& error) {  // a case that this driver cannot even send
      result = {{"status", "UNKNOWN"}, {"message", std::string("driver: ") + error.what()}};
    }
    result["case"] = test.is_object() ? test.value("case", "") : "";
    // A message may hold bytes that are no UTF-8; they are replaced, so that one odd answer does not end the driver.
    std::cout << result.dump(-1, ' ', false, json::error_handler_t::replace) << std::endl;
  }
} catch (const std::exception& error) {
  std::cerr << "driver: " << error.what() << "\n";
  return 1;
}
