# frozen_string_literal: true

require_relative 'error'
require_relative 'outage'
require_relative 'run_state'

module RunsGateway
  # News of a run: its status, with the results that no earlier update had.
  #
  # +restarted+: the gateway did not understand the token; the results begin anew, and those of earlier updates count no
  # more. +reconnected+: the connection was lost before this update.
  Update = Struct.new(:run, :revision, :resume_token, :restarted, :reconnected, keyword_init: true)

  # The updates of one run over any number of calls: what to request, what a message means, when to call again. It does no
  # input or output.
  class RunStream
    # A stream is dead after so many missing heartbeats, but a message may take LEAST_SILENCE seconds in any case.
    MISSED_HEARTBEATS = 3
    LEAST_SILENCE = 1.0
    # What ends so shortly before a deadline has ended with it: the two ends of a call have two clocks.
    EARLY_SECONDS = 0.05

    def initialize(request, outage, timeout: nil)
      @request = request
      @outage = outage
      @until = timeout && (Outage.now + timeout)
      @revision = nil
      @terminal = @cut = false
    end

    # The id of the run, as it was given.
    def run_id
      @request.run_id
    end

    def method
      :get_run
    end

    # Returns the request for the updates that have not been received.
    def request
      @outage.begun
      @first = true
      @request.timeout = duration([@until - Outage.now, 0].max) if @until
      @request
    end

    # Returns how many seconds the next message may take; nil: as long as the call.
    def silence
      heartbeat = @request.heartbeat_interval
      heartbeat && [LEAST_SILENCE, MISSED_HEARTBEATS * heartbeat.to_f].max
    end

    # Whether a message tells more than is known, which the first one of a call repeats.
    def news?(message)
      !@first || message.revision != @revision || message.run.results.any?
    end

    # Returns the update in a message; nil for a heartbeat.
    def received(message)
      @outage.heard(progress: news?(message))
      @request.resume_token = message.resume_token
      @revision = message.revision
      @terminal = RunsGateway.ended?(message.run)
      @first = false
      return if message.heartbeat

      reconnected = @cut
      @cut = false
      Update.new(run: message.run, revision: @revision, resume_token: message.resume_token,
                 restarted: message.restarted, reconnected:)
    end

    # Returns how many seconds to pause before the next call; nil: all has been told.
    #
    # +error+ is the one that the call ended with. Raises it if another call would not help, or not in time.
    def ended(error)
      return if complete?(error)

      error ||= Error.too_early
      raise error if late?

      cut
      pause = @outage.pause(error)
      @until ? [pause, [@until - Outage.now, 0].max].min : pause
    end

    # Takes note that the connection is lost.
    def cut
      @cut = true
    end

    private

    # OK is the end only behind the state that was asked for: a proxy that shortens deadlines lets a call end with OK.
    def complete?(error)
      return false if @revision.nil?
      return true if late?

      error.nil? ? @terminal || !@request.wait : @terminal && !@request.include_results
    end

    def late?
      @until && Outage.now >= @until - EARLY_SECONDS
    end

    def duration(seconds)
      Google::Protobuf::Duration.new(seconds: seconds.to_i, nanos: ((seconds % 1) * 1e9).to_i)
    end
  end
end
