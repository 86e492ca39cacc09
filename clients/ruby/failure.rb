# frozen_string_literal: true

# Reads what an error says to a program. Copy this into your program.
require "google/protobuf/well_known_types" # Any#unpack
require "google/rpc/error_details_pb"
require "google/rpc/status_pb"
require "grpc"

module Failure
  # Returns the status of a failed call with its details: the same message that stands for an item that failed.
  def self.status(error)
    # There is none where the server was not reached, or the deadline passed.
    error.to_rpc_status || Google::Rpc::Status.new(code: error.code, message: error.details)
  end

  # Returns the detail of one kind, such as detail(status, Google::Rpc::BadRequest); nil where there is none.
  def self.detail(status, kind)
    status.details.find { |any| any.is(kind) }&.unpack(kind)
  end

  # Returns the reason, a name of ErrorReason; "" where there is none.
  def self.reason(status)
    detail(status, Google::Rpc::ErrorInfo)&.reason.to_s
  end

  # Returns in how many seconds to try again; nil: do not, the answer would be the same.
  def self.retry_delay_s(status)
    detail(status, Google::Rpc::RetryInfo)&.retry_delay&.to_f
  end
end
