# frozen_string_literal: true

require_relative 'error'
require_relative 'outage'

module RunsGateway
  # The news of many runs on one stream, over any number of calls. What a RunStream is for each of them, this is for all.
  class ManyRunsStream
    # A message has so many characters of a text that is no id.
    NAME_LENGTH = 255

    # Returns how many seconds the next message of any run may take.
    attr_reader :silence

    # +runs+ has the RunStream of each.
    def initialize(runs, outage)
      @runs = runs.to_h { |run| [run.run_id[0, NAME_LENGTH], run] }
      @outage = outage
      @silence = runs.map(&:silence).min
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
      name = message.run_id
      return unless @runs.key?(name)

      case message.event
      when :update then updated(@runs[name], message.update)
      when :ended then left(name, nil)
      when :error then left(name, Error.from_watch(message.error))
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

    def updated(run, message)
      @outage.heard(progress: run.news?(message))
      update = run.received(message)
      [run.run_id, update] if update
    end

    # The stream follows this run no more. If the run goes on all the same, it takes another stream.
    def left(name, error)
      if @runs[name].ended(error)
        @outage.heard(progress: false) # The gateway answers: the run gives up alone.
        return error || Error.too_early
      end

      [@runs.delete(name).run_id, :ended]
    rescue Error => e
      [@runs.delete(name).run_id, e]
    end
  end
end
