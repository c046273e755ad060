# frozen_string_literal: true

require_relative 'outage'

module RunsGateway
  # Watches that the messages of a stream come in time, in a thread of its own. The time in which the caller works on a
  # message does not count.
  class Silence
    # Whether a message has not come in time.
    attr_reader :broken

    # Yields once if a message takes more than +seconds+; nil: it may take as long as it likes.
    def initialize(seconds, &on_broken)
      @seconds = seconds
      @on_broken = on_broken
      @lock = Mutex.new
      @changed = ConditionVariable.new
      @broken = @over = false
      listen
      @thread = Thread.new { guard } if seconds
    end

    # Stops the clock while the block executes.
    def working
      set(nil)
      yield
    ensure
      listen
    end

    # Ends the watch.
    def close
      @lock.synchronize do
        @over = true
        @changed.signal
      end
      @thread&.join
    end

    private

    def listen
      set(@seconds && (Outage.now + @seconds))
    end

    def set(due)
      @lock.synchronize do
        @due = due
        @changed.signal
      end
    end

    def guard
      @lock.synchronize do
        @changed.wait(@lock, @due && [@due - Outage.now, 0].max) until @over || (@due && Outage.now >= @due)
        @broken = !@over
      end
      @on_broken.call if @broken
    end
  end
end
