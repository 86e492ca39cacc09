# frozen_string_literal: true

# Opens the channel to a mesh, and makes what goes along with a call. Copy this into your program.
require "sensorium/v1/orchestrator_services_pb"

module Connection
  # gRPC takes in 4 MiB a message unless told otherwise; the server's limit is this one (see Limits in Describe).
  MAX_MESSAGE_BYTES = 64 * 1024 * 1024
  CHANNEL_ARGS = {
    "grpc.max_receive_message_length" => MAX_MESSAGE_BYTES,
    "grpc.max_send_message_length" => MAX_MESSAGE_BYTES
  }.freeze

  # Returns a stub of the orchestrator: one for the whole program, which threads may share.
  #
  # address: such as "localhost:8001", or "dns:///mesh.example:8001".
  # ca: path of the PEM file with the authority that the server's certificate leads to; nil: plain text.
  def self.open(address, ca: nil)
    credentials = ca ? GRPC::Core::ChannelCredentials.new(File.read(ca)) : :this_channel_is_insecure
    Sensorium::V1::OrchestratorService::Stub.new(address, credentials, channel_args: CHANNEL_ARGS)
  end

  # Returns the options of one call: within so many seconds from now, else it may hang, and with this metadata. The token is
  # sent as it is: give one over TLS alone.
  def self.call_options(within_s:, token: nil, metadata: {})
    sent = metadata.dup
    sent["authorization"] = "Bearer #{token}" unless token.to_s.empty?
    { deadline: Time.now + within_s, metadata: sent }
  end
end
