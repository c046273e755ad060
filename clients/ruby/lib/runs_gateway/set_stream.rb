# frozen_string_literal: true

require_relative 'error'
require_relative 'outage'

module RunsGateway
  # News of a set of runs. +kind+ is :added, :changed or :left, and +run+ the status of the run, nil if it was deleted;
  # or :caught_up: all has been told that had happened when the set was asked for. The others are those of Update.
  SetEvent = Struct.new(:kind, :run_id, :run, :resume_token, :restarted, :reconnected, keyword_init: true)

  # The events of one set over any number of calls, as RunStream has the updates of a run.
  class SetStream
    NAME = 'runs'
    KINDS = { SET_EVENT_ADDED: :added, SET_EVENT_CHANGED: :changed, SET_EVENT_LEFT: :left }.freeze

    def initialize(watch, outage)
      @watch = watch
      @watch.name = NAME
      @outage = outage
      @results = []
      @cut = @restarted = false
    end

    def method
      :watch_runs
    end

    # Returns the requests for the events that have not been received. A set goes on although nothing follows them.
    #
    # What has come of a run before a cut comes again.
    def request
      @outage.begun
      @results = []
      @restarted = false
      @watch.only_new = false unless @watch.resume_token.empty?
      [V1::WatchRunsRequest.new(add_set: @watch)]
    end

    # A set may be silent for long: nothing is sent while nothing happens. gRPC notices a peer that has vanished.
    def silence
      nil
    end

    # Returns the event in a message, nil if more of it is to come, or the Error by which the set has ended.
    def received(message)
      case message.event
      when :update then update(message)
      when :caught_up then point(message.caught_up, kind: :caught_up)
      when :error then Error.from_watch(message.error)
      else Error.cut('the gateway has stopped following the set')
      end
    end

    # Returns how many seconds to pause before the next call. Raises +error+ if another call would not help.
    def ended(error)
      @cut = true
      @outage.pause(error || Error.too_early)
    end

    private

    def update(message)
      update = message.update
      @results.concat(update.run.results.to_a) if update.run
      if update.resume_token.empty? # More results are to come.
        @restarted ||= update.restarted
        return
      end
      update.run&.results&.replace(@results)
      @results = []
      point(update, kind: KINDS.fetch(message.set_event, :changed), run_id: message.run_id, run: update.run)
    end

    # Goes on after this point from now on.
    def point(message, **told)
      @outage.heard(progress: message.resume_token != @watch.resume_token)
      @watch.resume_token = message.resume_token
      event = SetEvent.new(resume_token: message.resume_token, restarted: message.restarted || @restarted,
                           reconnected: @cut, **told)
      @cut = @restarted = false
      event
    end
  end
end
