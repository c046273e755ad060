# frozen_string_literal: true

require 'runs_gateway'

# What comes of many runs that are followed on one stream.
class Outcomes
  # Whether the connection was lost meanwhile.
  attr_reader :reconnected

  # Follows all of them: +events+ is what Client#watch_many returns.
  def initialize(events)
    @runs = Hash.new { |runs, run_id| runs[run_id] = RunsGateway::RunPicture.new }
    @reconnected = false
    events.each { |run_id, event| add(run_id, event) }
  end

  # Returns the picture of a run that has ended, or the error for which it cannot be followed.
  def [](run_id)
    @runs.fetch(run_id)
  end

  private

  def add(run_id, event)
    case event
    when RunsGateway::Error then @runs[run_id] = event
    when RunsGateway::Update
      @runs[run_id].add(event)
      @reconnected ||= event.reconnected
    end
  end
end
