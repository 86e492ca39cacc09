# frozen_string_literal: true

# The driver of the conformance cases: a case a line on stdin, its answer a line on stdout.
# Usage: driver ADDRESS [--ca PEM] [--token TOKEN]
require "json"
require "optparse"
require "connection"
require "failure"

# Runs cases against one mesh; clients/README.md says what their fields mean.
class Driver
  CODES = GRPC::Core::StatusCodes.constants.to_h { |name| [GRPC::Core::StatusCodes.const_get(name), name.to_s] }.freeze

  def initialize(stub, token)
    @stub = stub
    @token = token
  end

  # Returns the answer to a case.
  def answer(one)
    responses = []
    came = {}
    status = Google::Rpc::Status.new(code: GRPC::Core::StatusCodes::OK)
    begin
      call(one, responses, came)
    rescue GRPC::BadStatus => error
      came.merge!(error.metadata)
      status = Failure.status(error)
    rescue StandardError => error # a case that this driver cannot read, or its own fault: the answer says so, and it goes on
      status = Google::Rpc::Status.new(code: GRPC::Core::StatusCodes::UNKNOWN, message: "#{error.class}: #{error.message}")
    end
    { case: one["case"], status: CODES[status.code], message: status.message, responses: responses,
      details: status.details.filter_map { |any| detail(any) }, metadata: ascii(came) }
  end

  private

  # Runs a case and adds to the responses as they come, and to what came along with them.
  def call(one, responses, came)
    rpc = Sensorium::V1::OrchestratorService::Service.rpc_descs.fetch(one["method"].split("/").last.to_sym)
    operation = start(rpc, one)
    begin
      answers = operation.execute
      (rpc.bidi_streamer? ? answers : [answers]).each do |response|
        responses << json(response)
        operation.cancel if responses.size == one["cancel_after"] # and read on, to its status
      end
    ensure
      came.merge!(operation.metadata || {}, operation.trailing_metadata || {}) # headers and trailers
    end
  end

  def start(rpc, one)
    requests = one["requests"].map { |request| read(rpc, request) }
    token = one.fetch("token", @token)
    options = Connection.call_options(within_s: one["deadline_ms"] / 1000.0, token: token, metadata: one["metadata"] || {})
    method = GRPC::GenericService.underscore(rpc.name.to_s)
    @stub.public_send(method, rpc.bidi_streamer? ? requests.each : requests.first, return_op: true, **options)
  end

  def read(rpc, request)
    kind = rpc.input.is_a?(GRPC::RpcDesc::Stream) ? rpc.input.type : rpc.input
    kind.decode_json(JSON.generate(request))
  end

  def json(message)
    JSON.parse(message.class.encode_json(message))
  end

  # Returns the JSON of a detail, or nil where its type is not known here.
  def detail(any)
    json(any) if Google::Protobuf::DescriptorPool.generated_pool.lookup(any.type_name)
  end

  def ascii(metadata)
    metadata.reject { |key, _| key.end_with?("-bin") }
  end
end

given = {}
OptionParser.new("usage: driver ADDRESS [--ca PEM] [--token TOKEN]") do |parser|
  parser.on("--ca PEM")
  parser.on("--token TOKEN")
end.parse!(into: given)

driver = Driver.new(Connection.open(ARGV.fetch(0, "localhost:8001"), ca: given[:ca]), given[:token])
$stdout.sync = true
$stdin.each_line { |line| puts JSON.generate(driver.answer(JSON.parse(line))) }
