# frozen_string_literal: true

require 'google/protobuf/well_known_types'
require 'google/rpc/error_details_pb'
require 'google/rpc/status_pb'
require 'grpc'

module RunsGateway
  # What is wrong with a field of a request.
  Violation = Struct.new(:field, :description)

  # Why a call has failed: what the gateway says, or what gRPC says about the connection.
  class Error < StandardError
    DETAILS = 'grpc-status-details-bin'
    DOMAIN = 'runs-gateway'
    NAMES = GRPC::Core::StatusCodes.constants.to_h { |name| [GRPC::Core::StatusCodes.const_get(name), name.to_s] }.freeze

    # gRPC reports a cut connection by any of these. The gateway's own errors come with details. A deadline that is not ours
    # is that of a proxy.
    CUTS = %w[UNAVAILABLE ABORTED CANCELLED INTERNAL UNKNOWN DEADLINE_EXCEEDED].freeze

    # The name of the gRPC status, as 'NOT_FOUND'.
    attr_reader :code
    # The reason in upper case that the gateway gives. Where nobody gives one, it is the code.
    attr_reader :reason
    # What is wrong with which fields, if it is an INVALID_ARGUMENT.
    attr_reader :violations
    # After how many seconds the gateway asks to be called again; nil if it does not.
    attr_reader :retry_after

    def initialize(code, message, reason: code, violations: [], retry_after: nil)
      super(message)
      @code = code
      @reason = reason
      @violations = violations
      @retry_after = retry_after
    end

    # Whether the same call may succeed later.
    def passes?
      code == 'UNAVAILABLE' || !retry_after.nil?
    end

    # Whether the gateway goes on, and only asks for another connection.
    def go_away?
      reason == 'GO_AWAY'
    end

    class << self
      # Returns the error for a call that gRPC has ended with a bad status.
      def from_call(status)
        from_status(status.code, status.details, status.metadata[DETAILS])
      end

      # Returns the error for the code, the message and the serialized details of a status.
      def from_status(number, message, serialized)
        code = NAMES.fetch(number, 'UNKNOWN')
        details = unpack(serialized.to_s)
        info = details.grep(Google::Rpc::ErrorInfo).find { |each| each.domain == DOMAIN }
        return without_details(code, message) if info.nil?

        new(code, message, reason: info.reason, violations: violations(details), retry_after: pause(details))
      end

      # Returns the error for which one run or set of a stream cannot be followed, a V1::WatchError.
      def from_watch(error)
        from_status(error.code, error.message, error.status_details)
      end

      # Returns the error for a call that has had no answer in its time.
      def late
        new('DEADLINE_EXCEEDED', 'no answer in time')
      end

      # Returns the error for a call that gRPC could not even end with a status, a GRPC::Core::CallError: so it does if the
      # connection goes while a request is sent.
      def lost(error)
        cut("the gateway cannot be reached: #{error.message}")
      end

      # Returns the error for a stream that has ended, or been silent, although there was more to come.
      def cut(message)
        new('UNAVAILABLE', message)
      end

      # Returns the error for a stream that was to go on, and has ended with OK.
      def too_early
        cut('the stream has ended too early')
      end

      private

      def without_details(code, message)
        CUTS.include?(code) ? cut("the gateway cannot be reached: #{message}") : new(code, message)
      end

      def unpack(serialized)
        kinds = [Google::Rpc::ErrorInfo, Google::Rpc::BadRequest, Google::Rpc::RetryInfo]
        Google::Rpc::Status.decode(serialized).details.filter_map do |detail|
          kinds.find { |kind| detail.is(kind) }&.then { |kind| detail.unpack(kind) }
        end
      rescue Google::Protobuf::ParseError
        []
      end

      def violations(details)
        fields = details.grep(Google::Rpc::BadRequest).flat_map { |each| each.field_violations.to_a }
        fields.map { |each| Violation.new(each.field, each.description) }
      end

      def pause(details)
        details.grep(Google::Rpc::RetryInfo).first&.retry_delay&.to_f
      end
    end
  end
end
