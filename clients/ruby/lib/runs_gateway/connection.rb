# frozen_string_literal: true

require 'grpc'
require 'runs/v1/blobs_services_pb'
require 'runs/v1/runs_services_pb'
require_relative 'error'
require_relative 'silence'
require_relative 'tls_files'

module RunsGateway
  # A channel to the gateway, with TLS and credentials as they are wanted, and the calls on it. Nothing is tried again here.
  class Connection
    OPTIONS = {
      # Sizes are limited by the gateway, which says what is wrong; gRPC's own limit is 4 MiB.
      'grpc.max_receive_message_length' => -1,
      'grpc.max_send_message_length' => -1,
      # The gateway is back within seconds after a restart; by default gRPC would soon try every two minutes only.
      'grpc.initial_reconnect_backoff_ms' => 100,
      'grpc.min_reconnect_backoff_ms' => 1_000,
      'grpc.max_reconnect_backoff_ms' => 1_000,
      # A new channel is a new connection: see #renew.
      'grpc.use_local_subchannel_pool' => 1,
      # A peer that has vanished without a word is noticed.
      'grpc.keepalive_time_ms' => 30_000,
      'grpc.keepalive_timeout_ms' => 10_000,
      # For newer releases of gRPC. On a slow link, the answer to a ping stands behind what was sent before.
      'grpc.http2.ping_timeout_ms' => 60_000,
      'grpc.http2.max_pings_without_data' => 0
    }.freeze

    # What ends so many seconds before a deadline has ended with it: the two ends of a call have two clocks.
    EARLY = 0.05

    # Addresses of this machine.
    LOCAL = /\A(unix:|localhost(:\d+)?\z|127\.\d+\.\d+\.\d+(:\d+)?\z|\[::1\](:\d+)?\z)/

    # What gRPC does not take for a name with a scheme, as dns:///HOST:PORT.
    HOST_AND_PORT = %r{\A(?<host>[^:/\[\]]*|\[[^/\[\]]*\]):(?<port>[^:/]*)\z}

    # Whether a text may be an address.
    def self.address?(text)
      return false if text.empty? || text.match?(/\s/) || text.start_with?('http://', 'https://')

      parts = HOST_AND_PORT.match(text)
      parts.nil? || parts[:host] == 'unix' || (parts[:port].match?(/\A\d{1,5}\z/) && parts[:port].to_i.between?(1, 65_535))
    end

    # +tls+: the gateway has a certificate of the authorities that the system trusts, or of those in the PEM file +ca+.
    # The client has that in the file +cert+, and its key in +key+. Each of them turns TLS on.
    # Raises ArgumentError if the address can be none, a token is not visible ASCII or would leave this machine in the clear,
    # or a file is of no use, and SystemCallError if a file cannot be read.
    def initialize(address, tls: false, ca: nil, cert: nil, key: nil, token: nil, namespace: nil)
      # Later, it would seem to be a gateway that is away.
      raise ArgumentError, "#{address.inspect} is no address: it is HOST:PORT" unless Connection.address?(address)

      @address = address
      # The error does not show the token, which gRPC's own does.
      raise ArgumentError, 'a token is one word of visible ASCII' unless token.nil? || token.match?(/\A[!-~]+\z/)

      @credentials = tls || ca || cert || key ? secured(TlsFiles.new(ca, cert, key)) : :this_channel_is_insecure
      @metadata = { 'authorization' => token && "Bearer #{token}", 'runs-namespace' => namespace }.compact
      exposed = token && @credentials.is_a?(Symbol) && !address.match?(LOCAL)
      raise ArgumentError, "a token is sent to #{address} only over TLS" if exposed

      @lock = Mutex.new
      open
    end

    # Returns the answer of a method of one of the services (+:runs+ or +:blobs+). Raises Error if the call fails.
    def answer(service, method, request, seconds)
      deadline = Time.now + seconds
      @stubs.fetch(service).public_send(method, request, metadata: @metadata.dup, deadline:)
    rescue GRPC::BadStatus => e
      late = e.is_a?(GRPC::DeadlineExceeded) && Time.now >= deadline - EARLY
      raise late ? Error.late : Error.from_call(e)
    rescue GRPC::Core::CallError => e
      raise Error.lost(e)
    end

    # Yields the messages of a method that answers with a stream. Returns the Error that it ended with; nil: it was OK.
    #
    # A stream whose next message takes more than +silence+ seconds is cut, and so is the connection: it is dead.
    def messages(method, request, silence, &)
      stubs = @stubs
      call = stubs.fetch(:runs).public_send(method, request, metadata: @metadata.dup, return_op: true)
      watch = Silence.new(silence) { call.cancel }
      failure = read(call, watch, &)
      return failure unless watch.broken

      renew(stubs)
      Error.cut("the gateway cannot be reached: nothing has come for #{silence} seconds")
    ensure
      watch&.close
      call&.cancel
    end

    private

    def secured(files)
      GRPC::Core::ChannelCredentials.new(files.ca, files.key, files.cert)
    end

    def read(call, watch)
      call.execute.each { |message| watch.working { yield message } }
      nil
    rescue GRPC::BadStatus => e
      Error.from_call(e)
    rescue GRPC::Core::CallError => e
      Error.lost(e)
    end

    def open
      channel = GRPC::ClientStub.setup_channel(nil, @address, @credentials, OPTIONS.dup)
      services = { runs: V1::RunsService::Stub, blobs: V1::BlobsService::Stub }
      @stubs = services.transform_values { |stub| stub.new(nil, nil, channel_override: channel) }
    end

    # Makes a new connection in place of a dead one. The calls of other threads on that end by themselves.
    def renew(dead)
      @lock.synchronize { open if @stubs.equal?(dead) }
    end
  end
end
