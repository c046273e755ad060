# frozen_string_literal: true

require_relative 'error'
require_relative 'outage'

module RunsGateway
  # The news of many runs on one stream, over any number of calls. What a RunStream is for each of them, this is for all.
  class ManyRunsStream
    # Returns how many seconds the next message of any run may take.
    attr_reader :silence

    # +runs+ has a RunStream for each id.
    def initialize(runs, outage)
      @runs = runs
      @outage = outage
      @silence = runs.each_value.map(&:silence).min
    end

    def method
      :watch_runs
    end

    # Returns the requests for the news that have not been received, of each run that has not ended.
    def request
      @outage.begun
      @runs.each_value.map { |run| V1::WatchRunsRequest.new(add: run.request) }
    end

    # Returns the id of a run and its news, nil if a message has none, or the Error for which the stream has to begin anew.
    def received(message)
      run_id = message.run_id
      return unless @runs.key?(run_id)

      case message.event
      when :update then updated(run_id, message.update)
      when :ended then left(run_id, nil)
      when :error then left(run_id, Error.from_watch(message.error))
      end
    end

    # Returns how many seconds to pause before the next call; nil: every run has ended.
    #
    # +error+ is the one that the call ended with. Raises it if another call would not help, or not in time.
    def ended(error)
      return if @runs.empty?

      @runs.each_value(&:cut)
      @outage.pause(error || Error.too_early)
    end

    private

    def updated(run_id, message)
      run = @runs.fetch(run_id)
      @outage.heard(progress: run.news?(message))
      update = run.received(message)
      [run_id, update] if update
    end

    # The stream follows this run no more. If the run goes on all the same, it takes another stream.
    def left(run_id, error)
      return error || Error.too_early if @runs.fetch(run_id).ended(error)

      @runs.delete(run_id)
      [run_id, :ended]
    rescue Error => e
      @runs.delete(run_id)
      [run_id, e]
    end
  end
end
