# frozen_string_literal: true

module RunsGateway
  # When to call a gateway again that does not answer, and when to give up.
  class Outage
    # About how many seconds pass before the first retry; twice as many before each further one.
    FIRST_PAUSE = 0.1
    LONGEST_PAUSE = 5.0

    # A stream that has lasted so many seconds was not in vain, even if it has told nothing new.
    STABLE = 1.0

    # Retries end +retry_for+ seconds after the first failure since the last answer; nil: never.
    def initialize(retry_for)
      @retry_for = retry_for
      @pause = FIRST_PAUSE
      @since = nil
      @failed = @answered = false
    end

    def self.now
      Process.clock_gettime(Process::CLOCK_MONOTONIC)
    end

    # Whether a call has failed that was made again.
    def failed?
      @failed
    end

    # Takes note that a stream begins.
    def begun
      @begun = Outage.now
      @answered = false
    end

    # Takes note of an answer. Without progress the next pause still grows: the gateway may fail again and again.
    def heard(progress: true)
      @answered = true
      @since = nil
      @pause = FIRST_PAUSE if progress
    end

    # Returns how many seconds to pause before the next call. Raises +error+ if a retry would not help, or not in time.
    def pause(error)
      raise error unless error.passes?

      now = Outage.now
      heard if @answered && now - @begun >= STABLE
      @failed = true
      pause = next_pause + error.retry_after.to_f
      @since = error.go_away? ? nil : @since || now
      raise error if @since && @retry_for && now + pause > @since + @retry_for

      pause
    end

    private

    # Half of each pause is by chance: many clients that lost their connections at once do not come back at once.
    def next_pause
      pause = @pause
      @pause = [2 * pause, LONGEST_PAUSE].min
      pause * (0.5 + (0.5 * rand))
    end
  end
end
