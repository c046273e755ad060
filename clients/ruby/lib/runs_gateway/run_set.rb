# frozen_string_literal: true

module RunsGateway
  # The picture of a set: its runs, as the events of Client#watch_set have told so far. At each :caught_up, and whenever
  # nothing is on its way, these are the runs that Client#list lists.
  class RunSet
    # The latest status of each run, by its id.
    attr_reader :runs

    def initialize
      @runs = {}
    end

    # Adds the next event.
    def add(event)
      @runs.clear if event.restarted
      return if event.kind == :caught_up

      if event.kind == :left || event.run.nil?
        @runs.delete(event.run_id)
      else
        @runs[event.run_id] = event.run
      end
    end
  end
end
