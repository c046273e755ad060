# frozen_string_literal: true

module RunsGateway
  # The picture of a run, as the updates of Client#watch or Client#watch_many have told so far.
  class RunPicture
    # The latest status, which has the results of the last update alone; nil before the first one.
    attr_reader :run
    # The results of all updates.
    attr_reader :results

    def initialize
      @run = nil
      @results = []
    end

    # Adds the next update.
    def add(update)
      @results.clear if update.restarted
      @results.concat(update.run.results.to_a)
      @run = update.run
    end
  end
end
