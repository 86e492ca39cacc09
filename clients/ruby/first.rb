# frozen_string_literal: true

# The first call. Usage: first ADDRESS
require "sensorium/v1/orchestrator_services_pb"

address = ARGV.fetch(0, "localhost:8001")
stub = Sensorium::V1::OrchestratorService::Stub.new(address, :this_channel_is_insecure)
request = Sensorium::V1::EmbedRequest.new(contents: [Sensorium::V1::Content.new(text: "the digit three")])

begin
  result = stub.embed(request, deadline: Time.now + 10).results.first
  abort "first: #{result.error.message}" if result.error # an item may fail although the call is OK
  embedding = result.embedding
  numbers = embedding.values.first(4).map { |value| format("%.3f", value) }
  puts "#{embedding.space}, #{embedding.values.size} numbers: #{numbers.join(' ')} …"
rescue GRPC::BadStatus => error
  abort "first: #{error.details}"
end
