// The smallest call: embeds one text. Usage: first ADDRESS

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <iostream>

#include "sensorium/v1/orchestrator.grpc.pb.h"

int main(int argc, char** argv) {
  if (argc != 2) return std::cerr << "usage: first ADDRESS\n", 2;
  auto stub = sensorium::v1::OrchestratorService::NewStub(grpc::CreateChannel(argv[1], grpc::InsecureChannelCredentials()));

  sensorium::v1::EmbedRequest request;
  request.add_contents()->set_text("a small red circle");
  sensorium::v1::EmbedResponse response;
  grpc::ClientContext context;  // of one call; a new call takes a new one
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(10));

  grpc::Status status = stub->Embed(&context, request, &response);
  if (!status.ok()) return std::cerr << status.error_message() << "\n", 1;
  const auto& result = response.results(0);  // one result a content; each may fail by itself
  if (result.has_error()) return std::cerr << result.error().message() << "\n", 1;
  const auto& vector = result.embedding();
  std::cout << vector.space() << ", " << vector.values_size() << " numbers: ";
  std::cout << vector.values(0) << " " << vector.values(1) << " …\n";
}
