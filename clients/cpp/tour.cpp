// A tour of what most callers need. Usage: tour ADDRESS [--ca PEM] [--token TOKEN] [--inputs FOLDER]
//
// Exits with 0 only if everything came out as it should.

#include <algorithm>
#include <atomic>
#include <iostream>
#include <map>
#include <set>
#include <stdexcept>
#include <vector>

#include "sensorium.h"

using namespace std::chrono_literals;
namespace v1 = sensorium::v1;

namespace {

constexpr auto kTimeout = 10s;  // every call has a deadline: without one, a caller can wait for the server's default
constexpr int kStreamCount = 1000;

/// What the steps of the tour share.
struct Tour {
  std::unique_ptr<sensorium::Stub> stub;
  std::string image, audio;  // whole files; the server knows the format from the bytes
};

/// Throws std::runtime_error, which ends the tour, where something did not come out as it should.
void expect(bool holds, const std::string& what) {
  if (!holds) throw std::runtime_error(what);
}

void expect_ok(const grpc::Status& status) {
  expect(status.ok(), "code " + std::to_string(status.error_code()) + ": " + status.error_message());
}

/// Says what an error tells a program: the field that is at fault, the reason, and whether to try again.
void print_error(const google::rpc::Status& error) {
  std::cout << "  code " << error.code() << ": " << error.message() << "\n";
  if (const auto bad = sensorium::detail<google::rpc::BadRequest>(error)) {
    for (const auto& violation : bad->field_violations()) {
      std::cout << "  field " << violation.field() << ": " << violation.description() << "\n";
    }
  }
  if (const auto info = sensorium::detail<google::rpc::ErrorInfo>(error)) std::cout << "  reason " << info->reason() << "\n";
  if (const auto delay = sensorium::retry_delay(error)) {
    std::cout << "  try again in " << std::chrono::duration<double>(*delay).count() << " s\n";
  } else {
    std::cout << "  no use in trying again: no RetryInfo\n";
  }
}

std::string reason(const google::rpc::Status& error) {
  const auto info = sensorium::detail<google::rpc::ErrorInfo>(error);
  return info ? info->reason() : "";
}

/// Embeds a text, a picture and a sound in one call: three vectors of one space. Shows metadata both ways.
void embed(const Tour& tour) {
  v1::EmbedRequest request;
  request.add_contents()->set_text("the digit three");
  request.add_contents()->mutable_image()->set_data(tour.image);
  request.add_contents()->mutable_audio()->set_data(tour.audio);
  v1::EmbedResponse response;
  grpc::ClientContext context;
  sensorium::set_timeout(context, kTimeout);
  context.AddMetadata("x-request-id", "tour-cpp-1");  // stands in the server's log; made there where absent
  expect_ok(tour.stub->Embed(&context, request, &response));
  for (const auto& result : response.results()) {
    expect(result.has_embedding(), result.error().message());
    const auto& vector = result.embedding();
    std::cout << "embedded: " << vector.values_size() << " numbers of " << vector.space() << "\n";
  }
  std::multimap<grpc::string_ref, grpc::string_ref> answered = context.GetServerInitialMetadata();
  answered.merge(std::multimap(context.GetServerTrailingMetadata()));
  const auto echoed = answered.find("x-request-id");
  expect(echoed != answered.end() && echoed->second == "tour-cpp-1", "x-request-id was not echoed");
  std::cout << "request tour-cpp-1 took " << response.receipt().total_ns() / 1000000.0 << " ms on the server\n";
}

/// Classifies the picture and the sound by names alone (zero-shot).
void classify(const Tour& tour) {
  v1::ClassifyRequest request;
  request.add_contents()->mutable_image()->set_data(tour.image);
  request.add_contents()->mutable_audio()->set_data(tour.audio);
  for (const char* name : {"zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"}) {
    request.add_labels()->set_name(name);
  }
  request.set_top_k(1);
  v1::ClassifyResponse response;
  grpc::ClientContext context;
  sensorium::set_timeout(context, kTimeout);
  expect_ok(tour.stub->Classify(&context, request, &response));
  for (const auto& result : response.results()) {
    expect(result.has_ranking(), result.error().message());
    const auto& best = result.ranking().labels(0);
    std::cout << "classified: " << best.name() << " (" << best.probability() << ")\n";
    expect(best.name() == "three", "expected three");
  }
}

/// Streams many texts; answers may come out of order and are told apart by id.
void stream(const Tour& tour) {
  grpc::ClientContext context;
  sensorium::set_timeout(context, 60s);  // of the whole stream
  int sent = 0;
  std::set<std::string> answered;
  const auto next = [&]() -> std::optional<v1::EmbedStreamRequest> {
    if (sent == kStreamCount) return std::nullopt;
    v1::EmbedStreamRequest request;
    request.set_id(std::to_string(sent));
    request.mutable_content()->set_text("text number " + std::to_string(sent++));
    return request;
  };
  const auto take = [&](const v1::EmbedStreamResponse& response) {
    if (response.result().has_embedding()) answered.insert(response.id());
    return true;
  };
  expect_ok(sensorium::embed_stream(*tour.stub, context, next, take));
  std::cout << "streamed: " << sent << " texts, " << answered.size() << " answers\n";
  expect(answered.size() == kStreamCount, "answers are missing");
}

/// One bad item fails alone; the call is OK.
void bad_item(const Tour& tour) {
  v1::EmbedRequest request;
  request.add_contents()->set_text("this one is fine");
  request.add_contents()->mutable_image()->set_data("");
  v1::EmbedResponse response;
  grpc::ClientContext context;
  sensorium::set_timeout(context, kTimeout);
  expect_ok(tour.stub->Embed(&context, request, &response));
  expect(response.results(0).has_embedding() && response.results(1).has_error(), "the second item alone should fail");
  std::cout << "a bad item:\n";
  print_error(response.results(1).error());
  expect(reason(response.results(1).error()) == "ERROR_REASON_MEDIA_UNDECODABLE", "another reason was expected");
}

/// A bad request fails as a whole, with the same details.
void bad_request(const Tour& tour) {
  v1::EmbedResponse response;
  grpc::ClientContext context;
  sensorium::set_timeout(context, kTimeout);
  const grpc::Status status = tour.stub->Embed(&context, v1::EmbedRequest(), &response);
  expect(status.error_code() == grpc::StatusCode::INVALID_ARGUMENT, "an empty request should be refused");
  std::cout << "a bad request:\n";
  const auto error = sensorium::rich_status(status);
  print_error(error);
  expect(reason(error) == "ERROR_REASON_EMPTY_REQUEST", "another reason was expected");
}

}  // namespace

int main(int argc, char** argv) try {
  std::vector<std::string> words(argv + 1, argv + argc);
  std::map<std::string, std::string> options{{"--ca", ""}, {"--token", ""}, {"--inputs", "."}};
  bool is_usage_good = words.size() % 2 == 1;
  for (size_t i = 1; is_usage_good && i < words.size(); i += 2) {
    is_usage_good = options.count(words[i]) == 1;
    options[words[i]] = words[i + 1];
  }
  if (!is_usage_good) return std::cerr << "usage: tour ADDRESS [--ca PEM] [--token TOKEN] [--inputs FOLDER]\n", 2;

  const auto channel = sensorium::connect(words[0], options["--ca"], options["--token"]);
  const Tour tour{v1::OrchestratorService::NewStub(channel), sensorium::read_file(options["--inputs"] + "/three.png"),
                  sensorium::read_file(options["--inputs"] + "/three.wav")};
  for (const auto step : {embed, classify, stream, bad_item, bad_request}) step(tour);
  std::cout << "all came out as it should\n";
} catch (const std::exception& error) {
  std::cerr << "tour: " << error.what() << "\n";
  return 1;
}
